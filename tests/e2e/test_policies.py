"""Source policies that come with a build: what they deny is refused, what they convert is built from something else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.clients import Buildctl, ClientFailed

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def policy(folder: Path, *rules: dict[str, object]) -> Path:
    file = folder / "policy.json"
    file.write_text(json.dumps({"rules": list(rules)}))
    return file


def test_deny_and_convert(buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    folder = context("FROM docker.io/library/nothing:1 AS one\nRUN echo hi > /word\nFROM scratch\nCOPY --from=one /word /\n")
    wanted = {"selector": {"identifier": "docker-image://docker.io/library/*:1"}}
    converted = policy(tmp_path, {"action": "CONVERT", **wanted, "updates": {"identifier": f"docker-image://{busybox}"}})

    buildctl.build(folder, f"--source-policy-file={converted}", "--output", f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/word").read_text() == "hi\n"

    denied = policy(tmp_path, {"action": "DENY", **wanted})
    with pytest.raises(ClientFailed) as caught:
        buildctl.build(folder, f"--source-policy-file={denied}")
    assert 'source "docker-image://docker.io/library/nothing:1" denied by policy: source denied by policy' in caught.value.said


def test_an_expression_that_takes_for_ever(lone_buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """It is refused after a while; the daemon serves others."""
    name = f"localhost:1/{'a' * 60}:b"
    rule = {"action": "DENY", "selector": {"identifier": "docker-image://localhost:1/(a+)+$", "match_type": "REGEX"}}
    slow = policy(tmp_path, rule)
    with pytest.raises(ClientFailed, match="takes too long"):
        lone_buildctl.build(context(f"FROM {name}\n"), f"--source-policy-file={slow}", seconds=60)
    lone_buildctl.build(context(f"FROM {busybox}\n", name="other"), seconds=60)
