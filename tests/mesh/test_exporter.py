"""The exporter service on the memory bus, with a real registry, skopeo, and an executor and a client that only pretend."""

import asyncio
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.exporter.config import ExporterConfig
from services.exporter.service import run
from shared.blobs.memory import MemoryBlobs
from shared.bus.calls import Calls, Served
from shared.bus.memory import MemoryBus
from shared.errors import BuildmeshError, SessionGone
from shared.model import Digest, Layer, Ref, parse_platform, sha256_digest
from shared.rpc.framing import MessageReader
from shared.run.mesh import Mesh, Readiness
from shared.session.ports import SessionDescription
from shared.telemetry import Log, Metrics, Tracer
from shared.wire import subjects
from shared.wire.messages import (
    CheckExport,
    ExportDone,
    ExportResult,
    FinalizeExport,
    Pack,
    Packed,
    RunExport,
    Scope,
    SendTrees,
    Sent,
    TaskProgress,
    TypedAttrs,
)
from tests.kit.parts.registry import Registry

VERTEX = Digest("sha256:" + "e" * 64)
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}}).encode()


def layer_blob() -> tuple[Layer, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"world"))
    blob = gzip.compress(out.getvalue(), mtime=0)
    return Layer(
        digest=sha256_digest(blob),
        diff_id=sha256_digest(out.getvalue()),
        size=len(blob),
        media_type="application/vnd.oci.image.layer.v1.tar+gzip",
        created_at=10**18,
        description="RUN something",
    ), blob


def skopeo(*arguments: str) -> str:
    """What it prints."""
    return subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


class PretendStream:
    def __init__(self, client: "PretendClient") -> None:
        self._client = client
        self._reader = MessageReader()
        self.headers: dict[str, str] = {}

    async def send(self, chunk: bytes) -> None:
        self._reader.feed(chunk)
        while (message := self._reader.next()) is not None:
            # BytesMessage: field 1, a varint length, the data
            at = 1
            while message[at] & 0x80:
                at += 1
            self._client.received += message[at + 1 :]

    async def close_send(self) -> None:
        pass

    async def receive(self) -> bytes:
        return b""


class PretendClient:
    """A session that takes files."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.metadata: dict[str, str] = {}

    @asynccontextmanager
    async def open(self, session_id: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Any]:
        if method != "/moby.filesync.v1.FileSend/DiffCopy":
            raise SessionGone(f"no session serves {method}")
        self.metadata = dict(metadata)
        yield PretendStream(self)

    async def describe(self, session_id: str, *, wait: float = 5.0) -> SessionDescription:
        return SessionDescription(id=session_id)


class World:
    def __init__(self, calls: Calls, client: PretendClient) -> None:
        self.calls = calls
        self.client = client
        self.sent: list[SendTrees] = []
        self.statuses: list[str] = []

    def note(self, progress: Any) -> None:
        assert isinstance(progress, TaskProgress)
        self.statuses += [s.id for s in progress.statuses if s.completed]

    async def export(self, kind: str, attrs: dict[str, str], result: ExportResult | None = None) -> ExportDone:
        home = Ref(id="r1", home="exec-1")
        request = RunExport(
            exporter=TypedAttrs(type=kind, attrs=attrs),
            index=3,
            vertex=VERTEX,
            result=result or ExportResult(ref=home, metadata={"containerimage.config": CONFIG}),
            platform=parse_platform("linux/amd64"),
            session="s1",
            scope=Scope(lease="b1", sessions=("s1",)),
        )
        done = await self.calls.call(subjects.EXPORTER, request, on_progress=self.note)
        assert isinstance(done, ExportDone)
        return done

    async def finalize(self, data: bytes) -> None:
        order = FinalizeExport(finalize=data, vertex=VERTEX, session="s1", scope=Scope(lease="b1"))
        await self.calls.call(subjects.EXPORTER, order, on_progress=self.note)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    bus, blobs, client = MemoryBus(), MemoryBlobs(), PretendClient()
    layer, blob = layer_blob()
    await blobs.put(blob, digest=layer.digest)
    async with Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        world = World(calls, client)

        def pack(request: Pack, served: Served) -> Packed:
            return Packed(layers=(layer,))

        def send(request: SendTrees, served: Served) -> Sent:
            world.sent.append(request)
            return Sent(bytes_sent=1)

        mesh = Mesh(
            instance="test",
            bus=bus,
            calls=calls,
            blobs=blobs,
            claims=blobs,
            sessions=client,
            log=Log(),
            tracer=Tracer("exporter", ()),
            metrics=Metrics(),
            readiness=Readiness(),
        )
        serving = [
            tasks.create_task(run(ExporterConfig(), mesh)),
            tasks.create_task(calls.serve(subjects.executor_call("exec-1"), {Pack: pack, SendTrees: send})),
        ]
        async with asyncio.timeout(60):
            yield world
        for task in serving:
            task.cancel()


async def test_image_is_pushed_after_export_and_skopeo_reads_it(world: World, registry: Registry) -> None:
    """Two names, statuses in BuildKit's words."""
    names = f"{registry.host}/exporter/a:1,{registry.host}/exporter/b"
    done = await world.export("image", {"name": names, "push": "true"})
    await world.finalize(done.finalize)

    for name in (f"{registry.host}/exporter/a:1", f"{registry.host}/exporter/b:latest"):
        shown = skopeo("inspect", "--tls-verify=false", f"docker://{name}")
        assert json.loads(shown)["Digest"] == done.response["containerimage.digest"]
    assert world.statuses[0] == "exporting layers"
    assert [s.split(" sha256:")[0] for s in world.statuses[1:3]] == ["exporting manifest", "exporting config"]
    assert world.statuses[3] == "pushing layers"
    assert done.response["image.name"] == names


async def test_docker_archive_is_what_skopeo_expects(world: World, tmp_path: Path) -> None:
    """The client gets the response as metadata of the stream."""
    done = await world.export("docker", {"name": "x:1"})
    archive = tmp_path / "x.tar"
    archive.write_bytes(world.client.received)

    shown = skopeo("inspect", "--config", f"docker-archive:{archive}")
    assert json.loads(shown)["history"][0]["created_by"] == "RUN something"
    assert world.client.metadata["buildkit-attachable-exporter-id"] == "3"
    assert world.client.metadata["exporter-md-containerimage.digest"] == done.response["containerimage.digest"]
    assert done.finalize == b""


async def test_oci_archive_is_what_skopeo_expects(world: World, tmp_path: Path) -> None:
    """Found by its tag."""
    await world.export("oci", {"name": "example.com/x:1", "source-date-epoch": "5"})
    archive = tmp_path / "x.tar"
    archive.write_bytes(world.client.received)

    shown = skopeo("inspect", "--config", f"oci-archive:{archive}:1")
    assert json.loads(shown)["created"] == "1970-01-01T00:00:05Z"


async def test_local_is_sent_by_the_executor_that_has_it(world: World) -> None:
    """One tree to the root, its mtimes set when an epoch is given."""
    await world.export("local", {"source-date-epoch": "9", "mode": "delete"})

    assert [(r.kind, r.mode, r.epoch, [t.prefix for t in r.trees]) for r in world.sent] == [("local", "delete", 9, [""])]


async def test_bad_attributes_are_named_before_the_build(world: World) -> None:
    """CheckExport answers with the vertex name or the reason."""
    checked = await world.calls.call(subjects.EXPORTER, CheckExport(exporter=TypedAttrs(type="oci")))
    assert checked.name == "exporting to oci image format"
    with pytest.raises(BuildmeshError, match="non-bool value specified for push"):
        await world.calls.call(subjects.EXPORTER, CheckExport(exporter=TypedAttrs(type="image", attrs={"push": "x"})))


async def test_maps_need_platforms(world: World) -> None:
    """And docker archives refuse them."""
    result = ExportResult(is_map=True, refs={"linux/amd64": None})
    with pytest.raises(BuildmeshError, match="missing platforms mapping"):
        await world.export("image", {}, result)
    with pytest.raises(BuildmeshError, match="does not currently support exporting manifest lists"):
        await world.export("docker", {}, result)
