"""Spec files that come, change and go."""

import json
import os
from pathlib import Path

import pytest

from services.executor.adapters.cdi_specs import CdiSpecs, look_at_node
from services.executor.core.cdi import NodeInfo
from shared.errors import BuildFailed
from shared.telemetry import Log

YAML = 'cdiVersion: "0.6.0"\nkind: v.org/gpu\ndevices: [{name: a, containerEdits: {env: [A=yaml]}}]\n'


def names(specs: CdiSpecs) -> list[str]:
    return [device.name for device in specs.devices().all()]


def test_files_are_seen_as_they_come_and_go(tmp_path: Path) -> None:
    specs = CdiSpecs([str(tmp_path / "one"), str(tmp_path / "two")], [], Log())
    assert names(specs) == []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one/x.yaml").write_text(YAML)
    (tmp_path / "one/notes.txt").write_text(YAML.replace("gpu", "other"))

    assert names(specs) == ["v.org/gpu=a"]
    (tmp_path / "two/x.json").write_text(
        json.dumps({"cdiVersion": "1.0.0", "kind": "v.org/gpu", "devices": [{"name": "a", "containerEdits": {"env": ["A=json"]}}]})
    )
    assert [device.edits["env"] for device in specs.devices().all()] == [["A=json"]]
    (tmp_path / "one/x.yaml").write_text(YAML.replace("name: a", "name: bcd"))
    assert names(specs) == ["v.org/gpu=a", "v.org/gpu=bcd"]
    (tmp_path / "one/x.yaml").unlink()
    assert names(specs) == ["v.org/gpu=a"]


def test_files_that_cannot_be_read_hide_no_others(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("{")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "huge.json").write_bytes(b" " * (5 << 20))
    (tmp_path / "good.yaml").write_text(YAML)

    assert names(CdiSpecs([str(tmp_path)], [], Log())) == ["v.org/gpu=a"]


def test_of_two_with_one_name_in_a_folder_neither_counts(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(YAML)
    (tmp_path / "two.yaml").write_text(YAML)

    assert names(CdiSpecs([str(tmp_path)], [], Log())) == []


def test_nodes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert look_at_node("/dev/null") == NodeInfo(kind="c", major=1, minor=3)
    assert look_at_node(str(tmp_path / "pipe")).kind == "p"
    for path, said in ((tmp_path, "is not a device node"), (tmp_path / "gone", "No such file")):
        with pytest.raises(BuildFailed, match=said):
            look_at_node(str(path))
