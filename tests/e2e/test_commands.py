"""The clients' other commands."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Mesh
from tests.e2e.test_failures import wait_until
from tests.kit.clients import Buildctl, Buildx
from tests.kit.stack import SERVICES

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def test_workers_and_info(buildctl: Buildctl) -> None:
    """One worker for this platform; the version of BuildKit whose API is spoken."""
    workers = json.loads(buildctl.call("debug", "workers", "--format", "{{json .}}"))

    assert any(platform["architecture"] == "amd64" for platform in workers[0]["platforms"])
    assert "BuildKit:" in buildctl.call("debug", "info")


def test_disk_usage_and_prune(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """What a build left is listed; `prune --all` leaves nothing."""
    buildctl.build(context(f"FROM {busybox}\nRUN echo usage > /x\n"))

    records = json.loads(buildctl.call("du", "--format", "{{json .}}"))
    verbose = buildctl.call("du", "-v")
    pruned = buildctl.call("prune", "--all")

    assert any("echo usage" in (record.get("description") or "") for record in records)
    assert "echo usage" in verbose
    assert "Total:" in pruned
    assert json.loads(buildctl.call("du", "--format", "{{json .}}")) in ([], None)


def test_build_after_prune(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Everything runs again."""
    folder = context(f"FROM {busybox}\nRUN echo prune > /x\n")
    buildctl.build(folder)
    buildctl.call("prune", "--all")

    assert len(buildctl.build(folder).ran()) == 1


def test_histories(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """A build that ended is on record."""
    buildctl.build(context(f"FROM {busybox}\nRUN echo history > /x\n"))

    assert len(buildctl.call("debug", "histories").splitlines()) >= 2


def test_the_trace_on_record_has_all_services(buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """No collector is configured: what each of the six services did is in the record of the build, under one trace."""
    folder = context(f"FROM {busybox}\nRUN echo {time.time_ns()} > /x\n")
    buildctl.build(folder, "--ref-file", f"{tmp_path}/ref", "--output", f"type=oci,dest={tmp_path}/image.tar")
    ref = (tmp_path / "ref").read_text().strip()

    def record() -> Any:
        events = objects(buildctl.call("debug", "histories", "--format", "{{json .}}"))
        return next(event["record"] for event in events if event["record"]["Ref"] == ref)

    wait_until(lambda: record().get("trace"), 15)
    spans = objects(buildctl.call("debug", "get", record()["trace"]["digest"]))
    assert {span["Resource"][0]["Value"]["Value"].removeprefix("buildmesh-") for span in spans} >= set(SERVICES)
    assert len({span["SpanContext"]["TraceID"] for span in spans}) == 1
    assert len({span["SpanContext"]["SpanID"] for span in spans}) == len(spans)


def objects(text: str) -> list[dict[str, Any]]:
    """JSON objects, one after the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_buildx_ls_and_inspect(buildx: Buildx) -> None:
    """The builder is running, with its version and platforms."""
    inspected = buildx.call("inspect")

    assert "running" in buildx.call("ls")
    assert "linux/amd64" in inspected
    assert "v0.32.2" in inspected


def test_buildx_history(buildx: Buildx, context: Make, busybox: str) -> None:
    buildx.build(context(f"FROM {busybox}\nRUN echo listed > /x\n"))

    assert "Completed" in buildx.call("history", "ls")


def test_bake_two_targets(mesh: Mesh, buildx: Buildx, context: Make, busybox: str) -> None:
    """Two targets of one file, built at once."""
    dockerfile = f"FROM {busybox} AS base\nRUN echo base > /base\nFROM base AS one\nRUN echo 1 > /n\nFROM base AS two\nRUN echo 2 > /n\n"
    targets = "".join(f'target "{name}" {{\n  target = "{name}"\n  output = ["type=local,dest=../{name}"]\n}}\n' for name in ("one", "two"))
    folder = context(dockerfile, {"docker-bake.hcl": 'group "default" {\n  targets = ["one", "two"]\n}\n' + targets})

    buildx.call("bake", "--progress=plain", "--provenance=false", "--allow=fs=*", cwd=folder)

    assert (folder.parent / "one/n").read_text() == "1\n"
    assert (folder.parent / "two/n").read_text() == "2\n"
