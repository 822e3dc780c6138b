"""Mount options and layer chains."""

from services.executor.core.overlay import mount_options
from services.executor.core.snapshots import SnapshotKind as Kind
from services.executor.core.snapshots import chain_of, without_repeats

GRAPH = {
    "a": (Kind.LAYER, ()),
    "b": (Kind.LAYER, ("a",)),
    "c": (Kind.LAYER, ()),
    "m": (Kind.MERGE, ("b", "c", "b")),
    "n": (Kind.LAYER, ("m",)),
    "s": (Kind.SLICE, ("a", "b")),
    "d": (Kind.DIFF, ("c", "b")),
    "f": (Kind.FROZEN, ("n",)),
}


def test_options_are_escaped() -> None:
    text = mount_options(["/a:b", "/c,d", "/e\\f"], "/u,p", "/w")

    assert text == "lowerdir=/a\\:b:/c\\,d:/e\\\\f,upperdir=/u\\,p,workdir=/w,volatile,index=off,redirect_dir=off,metacopy=off"


def test_chains() -> None:
    expected = {"b": "ab", "m": "abcab", "n": "abcabn", "s": "b", "d": "d", "f": "abcabn"}

    assert {id: "".join(chain_of(id, GRAPH.__getitem__)) for id in expected} == expected
    assert without_repeats("abcabn") == ("c", "a", "b", "n")
