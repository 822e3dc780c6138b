"""Cache maps against those that BuildKit v0.32.2 computed for the same bytes (tests/golden/cache_keys/ops.tsv)."""

import base64
from pathlib import Path

import pytest

from services.solver.core.cache_keys import cache_map
from services.solver.core.go_json import fields, go_json, pointer
from services.solver.core.vertex import ContentSelector
from shared.errors import InvalidInput
from shared.llb import Copy, ExecOp, FileAction, FileOp, Input, Meta, Mount, Op, decode_op
from shared.model import Digest, Platform

GOLDEN = Path(__file__).parents[4] / "golden/cache_keys/ops.tsv"
LINUX = Platform(os="linux", architecture="amd64")
ROWS = [line.split("\t") for line in GOLDEN.read_text().splitlines()]


@pytest.mark.parametrize(("data", "expected"), ROWS, ids=[str(i) for i in range(len(ROWS))])
def test_cache_maps_are_those_of_buildkit(data: str, expected: str) -> None:
    """Digest, then per input its selector and whether it has a content key. `error` = BuildKit refuses it."""
    op = decode_op(base64.b64decode(data))
    assert op.platform is not None
    if expected == "error":
        with pytest.raises(InvalidInput):
            cache_map(op, op.platform)
        return
    found = cache_map(op, op.platform)
    shown = found.digest + "".join(f" {rule.selector}/{str(rule.content is not None).lower()}" for rule in found.inputs)
    assert shown == expected


def two_inputs() -> tuple[Input, ...]:
    return tuple(Input(digest=Digest("sha256:" + str(i) * 64)) for i in range(2))


def test_a_copy_is_known_by_the_content_of_its_source() -> None:
    """The primary input by definition only; nested paths are hashed once."""
    copies = [Copy(src="/src/a", dest="/"), Copy(src="/src", dest="/"), Copy(src="/*.go", dest="/", allow_wildcard=True)]
    actions = tuple(
        FileAction(input=0 if i == 0 else 1 + i, secondary_input=1, output=0 if i == 2 else -1, action=copy)
        for i, copy in enumerate(copies)
    )
    base, source = cache_map(Op(kind=FileOp(actions=actions), inputs=two_inputs()), LINUX).inputs
    assert base.content is None
    assert source.content == (ContentSelector(path="/*.go", wildcard=True), ContentSelector(path="/src"))


def test_a_read_only_mount_counts_by_its_selected_path() -> None:
    """Root mounts don't count by content."""
    op = ExecOp(
        meta=Meta(args=("x",)),
        mounts=(Mount(input=0, dest="/"), Mount(input=1, dest="/src", selector="sub/../a", readonly=True, output=-1)),
    )
    root, source = cache_map(Op(kind=op, inputs=two_inputs()), LINUX).inputs
    assert root.content is None
    assert source.content == (ContentSelector(path="/a", follow_links=True),)


def test_go_json_is_compact_and_safe_for_html() -> None:
    """As encoding/json writes it; maps in key order, empty structs behind pointers stay."""
    value = pointer(fields(a="<&>\u2028", b=0, c=(), d={"y": "1", "x": "2"}, e=pointer({}), f=b"hi"))
    assert go_json(value) == b'{"a":"\\u003c\\u0026\\u003e\\u2028","d":{"x":"2","y":"1"},"e":{},"f":"aGk="}'
