"""Runs ops on a real store, real runc and a busybox tree, without a mesh: for the executor's own tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.cache_dirs import CacheDirs
from services.executor.adapters.cdi_specs import CdiSpecs
from services.executor.adapters.container_files import ContainerFiles
from services.executor.adapters.exec_bundle import Bundles
from services.executor.adapters.exec_given import ExecParts
from services.executor.adapters.host import look_at_host
from services.executor.adapters.network import open_networks
from services.executor.adapters.ops_exec import ExecRunner
from services.executor.adapters.ops_file import FileRunner
from services.executor.adapters.platforms import native_platforms
from services.executor.adapters.runc import Runc
from services.executor.adapters.runtime import find_runtime
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.core.log_limit import LogLimits
from services.executor.core.names_files import Dns
from services.executor.core.settings import NetworkConfig
from shared.blobs.threads import Pool
from shared.errors import BuildmeshError, NotFound, SessionGone
from shared.llb import ExecOp, FileOp, Input, Meta, Mount, MountType, Op
from shared.model import Digest, Platform
from shared.pb import secrets_pb2
from shared.rpc.framing import MessageReader, frame
from shared.session.ports import SessionDescription, SessionStream
from shared.telemetry import Log
from shared.wire.messages import RunOp, Scope

VERTEX = Digest("sha256:" + "0" * 64)
NATIVE = Platform(os="linux", architecture="amd64")


class Told:
    """A Reporter that remembers."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, bool]] = []
        self.output: dict[int, bytes] = {1: b"", 2: b""}

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        self.statuses.append((id, done))

    def log(self, stream: int, data: bytes) -> None:
        self.output[stream] += data

    @property
    def text(self) -> str:
        return self.output[1].decode()


class _Answer:
    """A session stream that answers one GetSecret."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = secrets
        self._reader = MessageReader()
        self._left: list[bytes] = []
        self.headers: Mapping[str, str] = {}

    async def send(self, chunk: bytes) -> None:
        self._reader.feed(chunk)

    async def close_send(self) -> None:
        message = self._reader.next()
        id = secrets_pb2.GetSecretRequest.FromString(message or b"").ID
        if id not in self._secrets:
            raise NotFound(f"secret {id}: not found")
        self._left.append(frame(secrets_pb2.GetSecretResponse(data=self._secrets[id]).SerializeToString()))

    async def receive(self) -> bytes:
        return self._left.pop() if self._left else b""


@dataclass
class SecretLinks:
    """Session links of one client, `s`, that has these secrets."""

    secrets: dict[str, bytes] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, session_id: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[SessionStream]:
        if session_id != "s":
            raise SessionGone(f"no session {session_id}")
        yield _Answer(self.secrets)

    async def describe(self, session_id: str, *, wait: float = 5.0) -> SessionDescription:
        raise SessionGone(f"session {session_id} tells nothing of itself")

    async def methods(self, session_id: str, *, wait: float = 5.0) -> Collection[str]:
        return ()


class Steps:
    """The runners, and short ways to ask them."""

    def __init__(self, root: Path, *, network: NetworkConfig | None = None, limits: LogLimits | None = None, style: str = "auto") -> None:
        self.root = root
        self.store: DiskSnapshots = open_snapshots(root, style=style)
        self.threads = Pool("steps", 4)
        self.links = SecretLinks()
        runc = Runc(find_runtime(), root / "runc")
        runc.clear()
        self.runc = runc
        self.parts = ExecParts(
            home="here",
            store=self.store,
            threads=self.threads,
            runc=runc,
            bundles=Bundles(
                root=root / "run", store=self.store, files=ContainerFiles(root / "files", Dns()), host=look_at_host(), cgroup_parent=""
            ),
            networks=open_networks(network or NetworkConfig(mode="host"), root, self.threads),
            caches=CacheDirs(self.store, self.threads),
            agents=AgentSockets(root / "ssh", self.links),
            links=self.links,
            platforms=native_platforms(),
            limits=limits or LogLimits(),
            cdi=CdiSpecs([str(root / "cdi")], [], Log()),
        )
        self.exec = ExecRunner(self.parts)
        self.file = FileRunner("here", self.store, self.threads)
        self.told = Told()

    def busybox(self) -> str:
        """A snapshot with a shell."""
        made = self.store.prepare(None)
        with self.store.mount(made.id, writable=True) as path:
            for folder in ("bin", "etc", "tmp", "root"):
                os.makedirs(f"{path}/{folder}")
            shutil.copy("/bin/busybox", f"{path}/bin/busybox")
            os.symlink("busybox", f"{path}/bin/sh")
            for name in ("cat", "ls", "id", "mkdir", "touch", "sleep", "echo", "stat", "head", "yes", "env", "mount", "ip", "rm", "ln"):
                os.symlink("busybox", f"{path}/bin/{name}")
            Path(path, "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nbob:x:7:8::/:/bin/sh\n")
            Path(path, "etc/group").write_text("root:x:0:\nstaff:x:50:bob\n")
        return self.store.commit(made.id).id

    def request(self, **changes: object) -> RunOp:
        """A RunOp as the runners need it."""
        base = RunOp(vertex=VERTEX, attempt=1, op=b"", platform=NATIVE, inputs=(), scope=Scope(lease="build", sessions=("s",)), name="step")
        return replace(base, **changes)  # type: ignore[arg-type]

    def shell(self, script: str, *mounts: Mount, root: Mount | None = None, **meta: object) -> ExecOp:
        """`sh -c script` on input 0."""
        whole = root or Mount(input=0, dest="/", output=0)
        process = Meta(args=("/bin/sh", "-c", script), env=("PATH=/bin",), **meta)  # type: ignore[arg-type]
        return ExecOp(meta=process, mounts=(whole, *mounts))

    async def run(self, op: ExecOp | FileOp, *inputs: str | None, **request: object) -> tuple[str | None, ...]:
        """The outputs; what was said is in `told` afterwards."""
        self.told = Told()
        runner = self.exec if isinstance(op, ExecOp) else self.file
        return await runner.run(op, self.request(**request), inputs, self.told)  # type: ignore[arg-type]

    def read(self, id: str | None, path: str) -> str:
        assert id is not None
        with self.store.mount(id) as root:
            return Path(root, path).read_text()

    def names(self, id: str | None, path: str = "") -> set[str]:
        assert id is not None
        with self.store.mount(id) as root:
            return set(os.listdir(Path(root, path)))

    def own(self, id: str | None) -> set[str]:
        """Names in the snapshot's own layer."""
        assert id is not None
        path = Path(self.store.layers(id)[-1].path)
        return {str(p.relative_to(path)) for p in path.rglob("*")}

    def close(self) -> None:
        self.threads.close()
        self.store.close()


__all__ = ["VERTEX", "BuildmeshError", "Input", "MountType", "Op", "SecretLinks", "Steps", "Told"]
