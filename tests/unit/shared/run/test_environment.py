"""The environment over the file."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.run.environment import overlaid
from shared.run.settings import build


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    mode: Mode = Mode.FAST
    deep_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    name: str = ""
    log_format: str = ""
    path: Path = Path()
    count: int = 0
    ratio: float = 0.0
    flag: bool = False
    tags: tuple[str, ...] = ()
    unique: frozenset[str] = frozenset()
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    limit: int | None = None
    spelled: str = field(default="", metadata={"toml": "spelled-out"})


def read(tables: dict[str, Any], **variables: str) -> Table:
    return build(Table, overlaid(tables, variables, {"mesh": Table}).get("mesh", {}))


def test_each_kind_of_value() -> None:
    found = read(
        {},
        BUILDMESH_MESH__NAME="[::]:80",
        BUILDMESH_MESH__PATH="/p",
        BUILDMESH_MESH__COUNT="3",
        BUILDMESH_MESH__RATIO="0.5",
        BUILDMESH_MESH__FLAG="true",
        BUILDMESH_MESH__TAGS="a, b",
        BUILDMESH_MESH__UNIQUE='["x,y"]',
        BUILDMESH_MESH__INNER__MODE="slow",
        BUILDMESH_MESH__INNER__DEEP_SIZE="7",
        BUILDMESH_MESH__MANY="[{mode = 'slow'}]",
        BUILDMESH_MESH__LIMIT="5",
        BUILDMESH_MESH__SPELLED_OUT="s",
    )

    assert found == Table(
        name="[::]:80",
        path=Path("/p"),
        count=3,
        ratio=0.5,
        flag=True,
        tags=("a", "b"),
        unique=frozenset({"x,y"}),
        inner=Inner(mode=Mode.SLOW, deep_size=7),
        many=(Inner(mode=Mode.SLOW),),
        limit=5,
        spelled="s",
    )


def test_it_wins_over_the_file_however_that_spelled_the_key() -> None:
    tables = {"mesh": {"logFormat": "text", "name": "kept", "Inner": {"deep-size": 1, "mode": "slow"}}}

    found = read(tables, BUILDMESH_MESH__LOG_FORMAT="json", BUILDMESH_MESH__INNER__DEEP_SIZE="2")

    assert (found.log_format, found.name, found.inner) == ("json", "kept", Inner(mode=Mode.SLOW, deep_size=2))
    assert tables["mesh"]["logFormat"] == "text"


def test_values_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("nats://u:p@h:1\n")

    assert read({}, BUILDMESH_MESH__NAME_FILE=str(tmp_path / "secret")).name == "nats://u:p@h:1"


def test_what_is_not_ours_is_left_alone() -> None:
    assert overlaid({}, {"BUILDMESH_TOOLS": "x", "BUILDMESH_SOLVER__X": "1", "PATH": "/bin"}, {"mesh": Table}) == {}


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BUILDMESH_MESH__NMAE", "x", "BUILDMESH_MESH__NMAE: there is no such setting"),
        ("BUILDMESH_MESH__INNER__X", "x", "BUILDMESH_MESH__INNER__X: there is no such setting"),
        ("BUILDMESH_MESH__NAME__X", "x", "name has no keys of its own"),
        ("BUILDMESH_MESH__COUNT", "many", "BUILDMESH_MESH__COUNT: its text is no value of TOML"),
        ("BUILDMESH_MESH__NAME_FILE", "/no/such/file", "can't read /no/such/file"),
    ],
)
def test_faults_name_the_variable(variable: str, value: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read({}, **{variable: value})


def test_a_table_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="there is no table"):
        read({"mesh": 3}, BUILDMESH_MESH__NAME="x")  # type: ignore[dict-item]
