"""The configuration of the all-in-one."""

from pathlib import Path

from services.all_in_one import load


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[mesh]\nhttp = "file:1"\nlog_level = "file"\n[executor]\nsnapshotter = "native"\n')
    environment = {
        "BUILDMESH_MESH__HTTP": "environment:1",
        "BUILDMESH_MESH__LOG_LEVEL": "debug",
        "BUILDMESH_EXECUTOR__MAX_PARALLELISM": "3",
    }

    config = load(file, state=tmp_path, http="line:1", environment=environment)

    assert (config.mesh.http, config.mesh.log_level) == ("line:1", "debug")
    assert (config.executor.snapshotter, config.executor.max_parallelism) == ("native", 3)
