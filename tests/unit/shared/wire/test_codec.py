"""Messages as bytes: every type, hostile bytes, and the golden bytes of version 1."""

import contextlib
import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.model import Digest, Platform
from shared.wire.codec import Codec
from shared.wire.messages import MESSAGES, CacheQuery, Done, KeyDep, KeyNode, RunOp, Scope, SessionInfo

DIGEST = Digest("sha256:" + "0123456789abcdef" * 4)
GOLDEN = Path(__file__).parents[3] / "golden" / "wire"
CODEC = Codec()


def sample(hint: Any, depth: int = 0) -> Any:
    """One value of a field's type, the same in every run."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Digest:
        return DIGEST
    if hint in (str, int, float, bool, bytes):
        return {str: "text ü", int: -7, float: 0.5, bool: True, bytes: b"\x00\xff"}[hint]
    if origin is tuple:
        return (sample(args[0], depth + 1),) if args[-1] is Ellipsis else tuple(sample(a, depth + 1) for a in args)
    if origin is frozenset:
        return frozenset({sample(args[0], depth + 1)})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"key": sample(args[1], depth + 1)}
    if origin in (typing.Union, types.UnionType):
        return sample(next(a for a in args if a is not type(None)), depth + 1)
    if issubclass(hint, enum.Enum):
        return next(iter(hint))
    return made(hint, depth + 1)


def made(cls: type, depth: int = 0) -> Any:
    hints = typing.get_type_hints(cls)
    return cls(**{field.name: sample(hints[field.name], depth) for field in dataclasses.fields(cls)})


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_comes_back(cls: type) -> None:
    message = made(cls)

    envelope = CODEC.decode(CODEC.encode(message, key="k", trace="t", frame="f"))

    assert (envelope.body, envelope.key, envelope.trace, envelope.frame, envelope.claim) == (message, "k", "t", "f", "")


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_the_bytes_of_a_version_stay(cls: type, request: pytest.FixtureRequest) -> None:
    """A reader of yesterday's bytes: what they meant they still mean. A missing file is written by the first run."""
    path = GOLDEN / f"{cls.__name__}.v{getattr(cls, 'VERSION', 1)}.msgpack"
    if not path.exists():
        path.write_bytes(CODEC.encode(made(cls)))

    kept = CODEC.decode(path.read_bytes()).body

    known = set(msgpack.unpackb(path.read_bytes())["b"])
    for field in dataclasses.fields(cls):
        if field.name in known:
            assert getattr(kept, field.name) == getattr(made(cls), field.name)


def plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgpack.unpackb(CODEC.encode(message))
    return found


def test_unknown_fields_are_ignored() -> None:
    envelope = plain(SessionInfo(id="a", gateway="g", relay=""))
    envelope["b"]["future"] = {"x": [1]}
    envelope["z"] = 1

    assert CODEC.decode(msgpack.packb(envelope)).body == SessionInfo(id="a", gateway="g", relay="")


def test_missing_fields_take_their_default_and_others_are_an_error() -> None:
    envelope = plain(SessionInfo(id="a", gateway="g", relay="", name="n"))
    del envelope["b"]["name"]
    assert CODEC.decode(msgpack.packb(envelope)).body.name == ""

    del envelope["b"]["id"]
    with pytest.raises(InvalidInput, match=r"SessionInfo\.id"):
        CODEC.decode(msgpack.packb(envelope))


def query(**changes: Any) -> bytes:
    envelope = plain(CacheQuery(nodes=(KeyNode(digest="d", output=0),), deps=(KeyDep(node=0),), input=0, digest="d", output=0))
    envelope["b"].update(changes)
    data: bytes = msgpack.packb(envelope)
    return data


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"input": "0"}, "CacheQuery.input"),
        ({"input": True}, "CacheQuery.input"),
        ({"input": 0.0}, "CacheQuery.input"),
        ({"input": None}, "CacheQuery.input"),
        ({"digest": b"d"}, "CacheQuery.digest"),
        ({"nodes": {}}, "CacheQuery.nodes"),
        ({"nodes": [1]}, "KeyNode"),
        ({"deps": [{"node": 0, "selector": 1}]}, "KeyDep.selector"),
    ],
)
def test_values_of_another_type_are_refused_by_name(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidInput, match=names):
        CODEC.decode(query(**changes))


def test_digests_are_checked() -> None:
    envelope = plain(
        RunOp(vertex=DIGEST, attempt=1, op=b"", platform=Platform(os="linux", architecture="a"), inputs=(), scope=Scope(lease="l"))
    )
    envelope["b"]["vertex"] = "../../etc"

    with pytest.raises(InvalidInput, match=r"RunOp\.vertex"):
        CODEC.decode(msgpack.packb(envelope))


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    radius: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    side: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    VERSION = 3

    shape: Circle | Square
    colour: Colour = Colour.RED
    rest: "Drawing | None" = None
    pair: tuple[int, str] = (1, "a")
    names: frozenset[str] = frozenset()


def test_unions_enums_pairs_sets_and_recursion() -> None:
    codec = Codec([Drawing])
    drawing = Drawing(shape=Circle(radius=1.5), rest=Drawing(shape=Square(side=2.0), names=frozenset({"b", "a"})), pair=(2, "b"))

    assert codec.decode(codec.encode(drawing)).body == drawing


@pytest.mark.parametrize(
    ("field", "value"),
    [("colour", "blue"), ("shape", {"$": "Triangle"}), ("shape", {"radius": 1.0}), ("shape", None), ("pair", [1]), ("pair", [1, 2])],
)
def test_unknown_members_are_refused(field: str, value: Any) -> None:
    codec = Codec([Drawing])
    envelope = msgpack.unpackb(codec.encode(Drawing(shape=Circle(radius=1.0))))
    envelope["b"][field] = value

    with pytest.raises(InvalidInput, match=f"Drawing.{field}"):
        codec.decode(msgpack.packb(envelope))


def test_another_version_is_refused() -> None:
    codec = Codec([Drawing])
    envelope = msgpack.unpackb(codec.encode(Drawing(shape=Circle(radius=1.0))))
    assert envelope["v"] == 3
    envelope["v"] = 4

    with pytest.raises(InvalidInput, match="version 4"):
        codec.decode(msgpack.packb(envelope))


def test_two_types_of_one_name_are_refused() -> None:
    other = dataclasses.make_dataclass("Circle", ["x"], frozen=True)

    with pytest.raises(ValueError, match="Circle"):
        Codec([Circle, other])


def test_what_is_no_message_type_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="Circle"):
        CODEC.encode(Circle(radius=1.0))


def test_claims_and_bare_frames() -> None:
    claim = CODEC.decode(CODEC.encode_claim(DIGEST, key="k", frame="result"))
    bare = CODEC.decode(CODEC.encode(None, key="k", frame="heartbeat"))

    assert (claim.claim, claim.body, claim.key, claim.frame) == (DIGEST, None, "k", "result")
    assert (bare.claim, bare.body, bare.frame) == ("", None, "heartbeat")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([1]),
        msgpack.packb({"t": 1}),
        msgpack.packb({"t": "Nix", "v": 1, "b": {}}),
        msgpack.packb({"t": "Done", "v": 1, "b": None}),
        msgpack.packb({"t": "Done", "v": 1, "b": [], "k": 5}),
        msgpack.packb({"d": "sha256:../x"}),
        b"\x81\xa1t\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000,
        msgpack.packb({"t": "Done", "v": 1, "b": {}}) + b"x",
    ],
)
def test_hostile_bytes_are_invalid_input(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        CODEC.decode(data)


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        CODEC.decode(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=5), c),
        max_leaves=10,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_body_raises_anything_else(body: Any) -> None:
    for name in ("RunOp", "BridgeResult", "Done", "UsageReport"):
        with contextlib.suppress(InvalidInput):
            CODEC.decode(msgpack.packb({"t": name, "v": 1, "b": body}))


def test_done_is_small() -> None:
    assert len(CODEC.encode(Done(), key="0" * 24)) < 64
