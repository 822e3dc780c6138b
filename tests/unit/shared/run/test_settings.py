"""TOML → dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.run.settings import build, read_toml


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    max_things: int = 0
    ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    path: Path = Path()
    mode: Mode = Mode.FAST
    tags: tuple[str, ...] = ()
    unique: frozenset[str] = frozenset()
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    limit: int | None = None
    anything: Any = None
    flag: bool = False
    spelled: int = field(default=0, metadata={"toml": "spelled-out"})


def test_all_kinds_of_values() -> None:
    table = {
        "name": "n",
        "path": "/p",
        "mode": "slow",
        "tags": ["a"],
        "unique": ["u"],
        "inner": {"maxThings": 3, "ratio": 2},
        "many": [{"max-things": 1}],
        "byName": {"x": {"max_things": 2}},
        "limit": 5,
        "anything": [1, "a"],
        "spelled-out": 4,
    }

    assert build(Outer, table) == Outer(
        name="n",
        path=Path("/p"),
        mode=Mode.SLOW,
        tags=("a",),
        unique=frozenset({"u"}),
        inner=Inner(max_things=3, ratio=2.0),
        many=(Inner(max_things=1),),
        by_name={"x": Inner(max_things=2)},
        limit=5,
        anything=[1, "a"],
        spelled=4,
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"nmae": "n"}, "unknown key 'nmae' in the configuration: did you mean 'name'?"),
        ({"name": "n", "zzz": 1}, "known here: anything"),
        ({"name": "n", "spelledout_": 1, "spelled-outt": 1}, "did you mean 'spelled-out'"),
        ({"name": "n", "inner": {"max": 1}}, "unknown key 'inner.max'"),
        ({"name": 5}, "'name' in the configuration: want str, got 5"),
        ({"name": "n", "flag": 1}, "'flag' in the configuration: want bool"),
        ({"name": "n", "limit": True}, "'limit' in the configuration: want int"),
        ({"name": "n", "mode": "warp"}, "'warp' is none of fast, slow"),
        ({"name": "n", "tags": "a"}, "'tags' in the configuration: want list"),
        ({"name": "n", "tags": [1]}, r"'tags\[0\]'"),
        ({"name": "n", "by_name": {"x": 1}}, "'by_name.x'"),
        ({}, "name"),
    ],
)
def test_faults_name_the_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        build(Outer, table)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("a = \n")

    with pytest.raises(InvalidInput, match=r"broken\.toml.*line 1"):
        read_toml(broken)
    with pytest.raises(InvalidInput, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")
