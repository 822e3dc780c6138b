"""Messages about containers that whoever drives a build opens, and about frontends that run as containers.

A container is described by a marshaled pb.Op holding an ExecOp: its mounts, network and host names (the arguments mean nothing).
A process is described by an ExecOp, too: its meta, secrets and security mode (the mounts mean nothing).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.model import Platform, Ref
from shared.wire.execute import Scope

# --- calls on build.<ref>.bridge and build.<ref>.runs (`caller`: see shared.wire.build)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeNewContainer:
    """Open a container. Answer: Done. `id` is the driver's own; `refs`: result handles by input index of the op.

    `executor`: where it has to be, "" = where its trees are.
    """

    id: str
    op: bytes
    refs: tuple[str, ...] = ()
    platform: Platform | None = None
    executor: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeReleaseContainer:
    """Kill what runs in it, and free it. Answer: Done."""

    id: str
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeExec:
    """Run a process in a container; the first one is its init. Answer: Done, when it is over; cancelling kills it.

    `landing`: the session id on which the executor opens the stream of ExecMessages of this process (shared.bridge.processes).
    `fds`: the descriptors that are wanted.
    """

    container: str
    process: str
    op: bytes
    landing: str
    fds: tuple[int, ...] = ()
    tty: bool = False
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRunImage:
    """Run a frontend: the process of `op` in the tree of the handle `ref`. Answer: BridgeResult, what it returns."""

    ref: str
    op: bytes
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    caller: str = ""


# --- calls to the executor


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenContainer:
    """Prepare a container of which nothing runs yet. Answer: ContainerOpened. `id`: unguessable; `inputs` by input index of the op."""

    id: str
    op: bytes
    inputs: tuple[Ref | None, ...]
    platform: Platform
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOpened:
    executor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """See BridgeExec. Answer: Done."""

    container: str
    process: str
    op: bytes
    landing: str
    scope: Scope
    fds: tuple[int, ...] = ()
    tty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseContainer:
    """Answer: Done, also for one that is gone."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContainerFile:
    """A file on a mount of a container, as it is now. Answer: FileData. `length` 0 = to the end."""

    container: str
    mount: int
    path: str
    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContainerDir:
    """Answer: FileStats."""

    container: str
    mount: int
    path: str
    include_pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatContainerFile:
    """Answer: FileStats with one entry. Symlinks are followed while they stay inside the mount."""

    container: str
    mount: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImage:
    """Run a frontend as a container that drives the build over its standard input and output. Answer: BridgeResult.

    `op` describes container and process; `root` is its input 0. `bridge`: the subject that it asks on. `definition`: the frontend's
    own (marshaled pb.Definition), which it finds as a file. `inputs`: the frontend inputs, as it may ask for them.
    """

    root: Ref
    op: bytes
    bridge: str
    platform: Platform
    scope: Scope
    definition: bytes = b""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    caller: str = ""  # the run of a frontend that it is part of: it asks with this at the bridge
