"""Who may say what to whom: the table of docs/bus.md, by service, and what it does with blobs. The bus enforces it where it can
(shared.bus.nats_rights), and so does the blob store (shared.blobs.s3_rights).

A new subject or bucket has to stand here as well, else a fleet with certificates refuses it (tests/contracts/test_bus_rights.py and
tests/e2e/test_trust.py notice).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from shared.wire import subjects

__all__ = ["EVERYBODY", "ROLES", "BlobRight", "Role", "askers", "makes_streams", "servers", "session_users"]

EXEC = f"{subjects.EXEC_ANY}.>"
BRIDGES = "build.*.bridge"
RUNS = "build.*.runs"
ONE_EXECUTOR = "executor.*.call"
ONE_SOLVER = "solver.*.call"
EVENTS = "build.*.events"
TRACES = "trace.*"


class BlobRight(Enum):
    """What a service may do with blobs. Who may write may as well delete: what is damaged has to go before it can be put again."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    LIST = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one service does on the bus. `asks` and `answers`: calls and work queues; `says` and `hears`: broadcasts.

    `watches` and `writes` are buckets; of both single entries may be read, only of the former all of them, and changes.
    """

    asks: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    says: frozenset[str] = frozenset()
    hears: frozenset[str] = frozenset()
    appends: bool = False  # to the logs of builds
    follows: bool = False
    makes: bool = False  # the streams of all: who makes one decides where its messages go
    watches: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    blobs: frozenset[BlobRight] = frozenset()  # beside messages that are too large for the bus, which everybody leaves and fetches


_KEEPS = frozenset({BlobRight.READ, BlobRight.WRITE, BlobRight.DELETE})

EVERYBODY: Final = Role(says=frozenset({subjects.CANCEL, TRACES}), hears=frozenset({subjects.CANCEL}))

ROLES: Final[Mapping[str, Role]] = {
    "gateway": Role(
        asks=frozenset({subjects.BUILDS, BRIDGES, subjects.CACHE}),
        says=frozenset({subjects.HISTORY}),
        hears=frozenset({subjects.HISTORY, TRACES}),
        appends=True,
        follows=True,
        makes=True,
        watches=frozenset({subjects.KV_EXECUTORS, subjects.KV_SESSIONS, subjects.KV_BUILDS, subjects.KV_HISTORY}),
        writes=frozenset({subjects.KV_SESSIONS, subjects.KV_BUILDS, subjects.KV_HISTORY, subjects.KV_PINS}),
        blobs=_KEEPS,
    ),
    "frontend": Role(asks=frozenset({RUNS}), answers=frozenset({subjects.FRONTEND})),
    "solver": Role(
        asks=frozenset({subjects.FRONTEND, subjects.EXECUTOR, ONE_EXECUTOR, EXEC, subjects.EXPORTER, subjects.CACHE, ONE_SOLVER}),
        answers=frozenset({subjects.BUILDS, BRIDGES, RUNS, ONE_SOLVER}),
        says=frozenset({subjects.LEASES, subjects.SOLVER_TURNS}),
        hears=frozenset({subjects.SOLVER_TURNS}),
        appends=True,
        makes=True,
        watches=frozenset({subjects.KV_EXECUTORS, subjects.KV_SESSIONS, subjects.KV_BRIDGES, subjects.KV_BUILDS}),
        writes=frozenset({subjects.KV_BRIDGES}),
    ),
    "executor": Role(
        asks=frozenset({ONE_EXECUTOR, RUNS, subjects.LAYERS}),
        answers=frozenset({subjects.EXECUTOR, ONE_EXECUTOR, EXEC}),
        says=frozenset({subjects.NEIGHBOURS, subjects.REGISTRY_RESTS}),
        hears=frozenset({subjects.LEASES, subjects.NEIGHBOURS, subjects.REGISTRY_RESTS}),
        watches=frozenset({subjects.KV_SESSIONS}),
        writes=frozenset(
            {
                subjects.KV_EXECUTORS,
                subjects.KV_CONTEXTS,
                subjects.KV_PULLS,
                subjects.KV_ETAGS,
                subjects.KV_ORIGINS,
                subjects.KV_LOCKS,
                subjects.KV_MOUNTS,
            }
        ),
        blobs=_KEEPS,
    ),
    "exporter": Role(
        asks=frozenset({subjects.EXECUTOR, ONE_EXECUTOR}),
        answers=frozenset({subjects.EXPORTER}),
        watches=frozenset({subjects.KV_SESSIONS}),
        blobs=_KEEPS,
    ),
    "cachestore": Role(
        asks=frozenset({ONE_EXECUTOR}),
        answers=frozenset({subjects.CACHE, subjects.LAYERS}),
        hears=frozenset({subjects.LEASES}),
        makes=True,
        watches=frozenset(
            {
                subjects.KV_EXECUTORS,
                subjects.KV_PINS,
                subjects.KV_HISTORY,
                subjects.KV_LEADERS,
                subjects.KV_KEYS,
                subjects.KV_MOUNTS,
            }
        ),
        writes=frozenset({subjects.KV_LEADERS, subjects.KV_KEYS, subjects.KV_MOUNTS}),
        blobs=frozenset({BlobRight.READ, BlobRight.DELETE, BlobRight.LIST}),
    ),
}


def askers(subject: str) -> list[str]:
    """The services that ask on this subject, sorted."""
    return sorted(name for name, role in ROLES.items() if subject in role.asks)


def servers(subject: str) -> list[str]:
    """The services that answer there, sorted."""
    return sorted(name for name, role in ROLES.items() if subject in role.answers)


def makes_streams(name: str) -> bool:
    """Whether a process of this name makes the streams that it misses. One that is no service of a fleet (several in one, tests) does."""
    role = ROLES.get(name)
    return role is None or role.makes


def session_users() -> frozenset[str]:
    """The services that open streams to clients: those that may find out where sessions are."""
    return frozenset(name for name, role in ROLES.items() if subjects.KV_SESSIONS in role.watches)
