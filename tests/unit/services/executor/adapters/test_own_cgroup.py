"""A cgroup for each executor."""

from pathlib import Path

import pytest

from services.executor.adapters.own_cgroup import own_cgroup


@pytest.fixture(params=["v1", "v2"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """The hierarchies below tmp_path."""
    if request.param == "v2":
        (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
        return [tmp_path]
    for controller in ("cpu", "memory"):
        (tmp_path / controller).mkdir()
    (tmp_path / "alias").symlink_to("cpu")
    return [tmp_path / "cpu", tmp_path / "memory"]


def test_it_is_there_with_the_executor_and_gone_after_it(places: list[Path], tmp_path: Path) -> None:
    with own_cgroup("/fleet", "one", root=tmp_path) as mine:
        assert mine == "/fleet/one"
        assert all((place / "fleet/one").is_dir() for place in places)
        (places[0] / "fleet/one/buildkit").mkdir()  # by a runtime

    assert not any((place / "fleet").exists() for place in places)


def test_the_parent_goes_with_the_last(places: list[Path], tmp_path: Path) -> None:
    with own_cgroup("/fleet", "one", root=tmp_path):
        with own_cgroup("/fleet", "two", root=tmp_path):
            pass
        assert [child.name for child in (places[0] / "fleet").iterdir()] == ["one"]

    assert not (places[0] / "fleet").exists()
