"""Which field types the wire knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.wire.shapes import Shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    value: int
    children: tuple["Node", ...] = ()
    parents: Mapping[str, "Node"] | None = None


def test_types_that_contain_themselves() -> None:
    shapes = Shapes()
    tree = Node(value=1, children=(Node(value=2, parents={"a": Node(value=3)}),))

    assert shapes.decoder(Node)(shapes.encoder(Node)(tree)) == tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Strange:
    value: complex


@dataclass(frozen=True, slots=True, kw_only=True)
class ByNumber:
    value: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    value: int | str


@pytest.mark.parametrize("cls", [Strange, ByNumber, Mixed])
def test_types_that_the_wire_does_not_know(cls: type) -> None:
    with pytest.raises(TypeError):
        Shapes().encoder(cls)


@pytest.mark.parametrize("plain", [None, [], "x", {"value": 1, "children": [None]}, {"value": 1, "parents": {1: {"value": 1}}}])
def test_shapes_that_do_not_fit(plain: Any) -> None:
    with pytest.raises(InvalidInput, match="Node"):
        Shapes().decoder(Node)(plain)
