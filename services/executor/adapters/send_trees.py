"""SendTrees: trees of this executor straight to the client's session, as directories or as one tar."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from services.executor.adapters.materialise import Materialise
from services.executor.adapters.reporter import reporting
from services.executor.adapters.tree_entries import ShownTree, merged, open_in
from services.executor.adapters.tree_tar import tar_chunks
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.errors import AlreadyExists, InvalidInput, first_failure
from shared.session.filesend import export_file, export_tree
from shared.session.once import is_delivered, output_name
from shared.session.ports import SessionLinks
from shared.wire.messages import SendTrees, Sent, Tree

_GATHER = 1 << 20


class TreeSender:
    """Handler of SendTrees."""

    def __init__(self, *, materialise: Materialise, store: SnapshotStore, threads: Pool, links: SessionLinks, scratch: Path) -> None:
        self._materialise, self._store, self._threads, self._links = materialise, store, threads, links
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)

    async def send(self, request: SendTrees, served: Served) -> Sent:
        """Raises RefLost, and what the client answers."""
        async with reporting(served, request.vertex) as report:
            ids = await self._materialise.all([t.ref for t in request.trees], request.scope, report)
            with ExitStack() as mounts:
                shown: list[list[ShownTree]] = []
                for tree, id in zip(request.trees, ids, strict=True):
                    root = mounts.enter_context(self._store.mount(id)) if id is not None else ""
                    label = tree.status_id.removeprefix("copying files").strip()
                    same = [ShownTree(root=root, prefix=_safe_prefix(tree), label=label, epoch=request.epoch)]
                    if tree.extra:
                        folder = mounts.enter_context(TemporaryDirectory(prefix="extra-", dir=self._scratch))
                        await self._threads.do(_write_extra, folder, tree)
                        same.append(replace(same[0], root=folder))
                    shown.append(same)
                match request.kind:
                    case "local":
                        return Sent(bytes_sent=await self._directories(request, shown, report))
                    case "tar":
                        return Sent(bytes_sent=await self._tar(request, shown, report))
        raise InvalidInput(f"unknown kind of export {request.kind[:40]!r}")

    async def _directories(self, request: SendTrees, shown: Sequence[list[ShownTree]], report: Reporter) -> int:
        apart = len(shown) > 1 and request.mode != "delete" and all(group[0].prefix for group in shown)
        groups = list(shown) if apart else [_together(shown)]
        statuses = [t.status_id for t in request.trees] if apart or len(shown) == 1 else ["copying files"]
        sent = [0] * len(groups)

        async def one(index: int) -> None:
            sent[index] = await self._directory(request, groups[index], statuses[index], report)

        try:
            async with asyncio.TaskGroup() as tasks:
                for index in range(len(groups)):
                    tasks.create_task(one(index))
        except BaseExceptionGroup as group:
            raise first_failure(group) from None
        return sum(sent)

    async def _directory(self, request: SendTrees, trees: Sequence[ShownTree], status: str, report: Reporter) -> int:
        report.status(status, name="transferring")
        sent = await export_tree(
            self._links,
            request.session,
            request.exporter_id,
            merged(trees),
            lambda path: open_in(trees, path),
            threads=self._threads.threads,
            multi_platform=request.mode == "delete",
            on_progress=lambda done: report.status(status, name="transferring", current=done),
        )
        report.status(status, name="transferring", current=sent, done=True)
        return sent

    async def _tar(self, request: SendTrees, shown: Sequence[list[ShownTree]], report: Reporter) -> int:
        report.status("sending tarball")
        trees = _together(shown)
        chunks = tar_chunks(merged(trees), lambda path: open_in(trees, path))
        name = output_name(request.scope.lease, request.exporter_id)
        try:
            sent = await export_file(
                self._links, request.session, request.exporter_id, self._gathered(chunks), metadata=request.metadata, once=name
            )
        except AlreadyExists as error:
            if not is_delivered(error):
                raise
            sent = 0
        report.status("sending tarball", done=True)
        return sent

    async def _gathered(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """The small pieces of a tar in large ones, made in a thread."""
        while piece := await self._threads.do(_gather, chunks):
            yield piece


def _together(shown: Sequence[list[ShownTree]]) -> list[ShownTree]:
    return [tree for group in shown for tree in group]


def _write_extra(folder: str, tree: Tree) -> None:
    for file in tree.extra:
        if "/" in file.path or file.path in ("", ".", "..") or "\0" in file.path:
            raise InvalidInput(f"invalid name of an attestation file {file.path[:100]!r}")
        path = Path(folder) / file.path
        path.write_bytes(file.data)
        path.chmod(file.mode & 0o777)


def _gather(chunks: Iterator[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= _GATHER:
            break
    return b"".join(parts)


def _safe_prefix(tree: Tree) -> str:
    if "/" in tree.prefix or tree.prefix in (".", "..") or "\0" in tree.prefix:
        raise InvalidInput(f"invalid platform directory {tree.prefix[:100]!r}")
    return tree.prefix
