"""Shows local directories to the daemon: `FileSync/DiffCopy`, in which the client sends (BuildKit session/filesync)."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from client.streams import CallBytes
from shared.errors import InvalidInput, NotFound
from shared.fsutil.filter import PathFilter, follow_links
from shared.fsutil.packets import Stat
from shared.fsutil.sender import reset_hardlinks
from shared.rpc import Call, Handler, Metadata
from shared.session.filesend import send_tree
from shared.session.tree_reader import open_file, walk

DIFF_COPY: Final = "/moby.filesync.v1.FileSync/DiffCopy"


class LocalDirs:
    """`folders`: the name by which the daemon asks → the folder."""

    def __init__(self, folders: Mapping[str, str], *, threads: Executor) -> None:
        self._folders = dict(folders)
        self._threads = threads

    def routes(self) -> dict[str, Handler]:
        return {DIFF_COPY: self._diff_copy}

    async def _diff_copy(self, call: Call) -> None:
        name = call.metadata.get("dir-name")
        root = self._folders.get(name)
        if root is None:
            raise NotFound(f'no access allowed to dir "{name}"')
        entries = entries_of(
            root,
            include=_patterns(call.metadata, "include-patterns"),
            exclude=_patterns(call.metadata, "exclude-patterns"),
            follow=_patterns(call.metadata, "followpaths"),
        )
        # returning ends the call, which is what the receiver waits for after FIN
        await send_tree(CallBytes(call), entries, partial(open_file, root), threads=self._threads)


def _patterns(metadata: Metadata, key: str) -> list[str]:
    values = metadata.all(key)
    return [urllib.parse.unquote_plus(value) for value in values] if metadata.get(f"{key}-encoded") == "1" else values


def entries_of(root: str, *, include: list[str], exclude: list[str], follow: list[str]) -> Iterator[Stat]:
    """What is sent of a folder: filtered, owned by root (client/solve.go prepareSyncedFiles), hard links set right."""
    if follow:
        links = follow_links(follow, partial(_read_link, root), partial(_list_names, root))
        include = [] if links is None else [*include, *links]
    try:
        chosen = PathFilter(include=include, exclude=exclude)
    except ValueError as error:
        raise InvalidInput(f"invalid pattern: {error}") from None
    stats = chosen.select(walk(root, visit=chosen.visit))
    return reset_hardlinks(stat._replace(uid=0, gid=0) for stat in stats)


def _read_link(root: str, path: str) -> str | None:
    try:
        return os.readlink(os.path.join(root, path))
    except OSError:
        return None


def _list_names(root: str, path: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(root, path)))
    except OSError:
        return []
