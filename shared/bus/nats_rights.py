"""The table of roles as permissions of a nats-server: `users.conf`, with one user for each service.

Whoever answers may write to the inboxes of those who ask it, three tokens below (`_INBOX.<asker>.<token>.<call>.<server>`), and
nowhere else: what JetStream tells a service goes to other depths, so no other service can forge it. Streams are one per queue and
bucket, which makes rights on JetStream's API rights on that queue or bucket; who may make them stands in nats_streams.py.

A consumer may be told to deliver to any subject, past its maker's rights. So who could write words of its own into a stream must not
make consumers on it, where it isn't trusted with everything: an executor writes buckets that it can't watch.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from shared.bus import frames
from shared.bus.nats import inboxes
from shared.bus.nats_streams import LOG_STREAM, stream_names, work_stream
from shared.wire import subjects
from shared.wire.roles import EVENTS, EVERYBODY, ROLES, Role, askers, servers

__all__ = ["publishes", "subscribes", "users_conf"]

_QUEUE: Final = "work."
_API: Final = "$JS.API"


def publishes(name: str) -> list[str]:
    """All subjects on which the service may publish, sorted; for NATS, with its wildcards."""
    role = ROLES[name]
    own = f"{inboxes(name)}.*"  # to hear oneself tells how long the bus takes
    return sorted({own, *_asking(role), *_answering(role), *_logs(role), *_buckets(role), *_streams(role), *role.says, *EVERYBODY.says})


def subscribes(name: str) -> list[str]:
    """All subjects on which it may listen, sorted."""
    role = ROLES[name]
    served = {subject for subject in role.answers if not subject.startswith(_QUEUE)}
    wanted = {subjects.WANTED} if role.makes else set()
    return sorted({f"{inboxes(name)}.>", *served, *wanted, *role.hears, *EVERYBODY.hears})


def _asking(role: Role) -> Iterator[str]:
    """The question, and the question whether who answers still lives. Work that nobody does any more is handed back for the dead."""
    for subject in role.asks:
        yield subject
        for server in servers(subject):
            yield f"{inboxes(server)}.*.{frames.ALIVE}.*"
        if subject.startswith(_QUEUE):
            stream = work_stream(subject)
            yield f"{_API}.STREAM.INFO.{stream}"
            yield from _consumer(stream)
            yield f"$JS.ACK.{stream}.>"


def _answering(role: Role) -> Iterator[str]:
    for subject in role.answers:
        for asker in askers(subject):
            yield f"{inboxes(asker)}.*.*.*"
        if subject.startswith(_QUEUE):
            stream = work_stream(subject)
            yield f"{_API}.STREAM.INFO.{stream}"
            yield from _consumer(stream)
            yield f"{_API}.CONSUMER.MSG.NEXT.{stream}.>"
            yield f"$JS.ACK.{stream}.>"


def _logs(role: Role) -> Iterator[str]:
    if role.appends:
        yield EVENTS
    if role.appends or role.follows:
        yield f"{_API}.STREAM.INFO.{LOG_STREAM}"
    if role.follows:
        yield from _following(LOG_STREAM)


def _buckets(role: Role) -> Iterator[str]:
    for bucket in role.watches | role.writes:
        stream = f"KV_{bucket}"
        yield f"{_API}.STREAM.INFO.{stream}"
        yield f"{_API}.DIRECT.GET.{stream}.>"
        yield f"{_API}.STREAM.MSG.GET.{stream}"
    for bucket in role.watches:
        yield from _following(f"KV_{bucket}")
    for bucket in role.writes:
        yield f"$KV.{bucket}.>"


def _streams(role: Role) -> Iterator[str]:
    """To make those that are not there, for whoever misses them, or to ask for them. Nobody may change, empty or delete one."""
    if not role.makes:
        yield subjects.WANTED
        return
    for name in stream_names():
        yield f"{_API}.STREAM.INFO.{name}"
        yield f"{_API}.STREAM.CREATE.{name}"


def _consumer(stream: str) -> Iterator[str]:
    for verb in ("CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO"):
        yield f"{_API}.{verb}.{stream}.>"


def _following(stream: str) -> Iterator[str]:
    yield f"{_API}.CONSUMER.CREATE.{stream}"
    yield from _consumer(stream)
    yield f"{_API}.CONSUMER.DELETE.{stream}.>"
    yield f"$JS.FC.{stream}.>"


def users_conf(accounts: Mapping[str, Mapping[str, str]]) -> str:
    """The text of an `authorization` block. `accounts`: service → how it is known, as `{"user": …}` (with verify_and_map the name in its
    certificate) or `{"user": …, "password": …}`.
    """
    out = ["# Made by `buildmesh certs`: who may say what to whom (docs/bus.md).", "authorization {", "  users: ["]
    for name, known_by in sorted(accounts.items()):
        out += ["    {", *(f"      {key}: {_quoted(value)}" for key, value in known_by.items()), "      permissions: {"]
        out += [f"        publish: {{ allow: {_list(publishes(name))} }}", f"        subscribe: {{ allow: {_list(subscribes(name))} }}"]
        out += ["      }", "    }"]
    return "\n".join([*out, "  ]", "}", ""])


def _list(subjects: list[str]) -> str:
    return "[" + ", ".join(_quoted(subject) for subject in subjects) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
