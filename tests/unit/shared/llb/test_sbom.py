"""Scanner images; their whole operations are golden cases."""

import json
from typing import Any

import pytest

from shared.errors import BuildFailed
from shared.llb import Constraints, ExecOp, MarshalDefaults, decode_op, image_source, make_scanner, marshal, scratch
from shared.model import Platform

AMD64 = Platform(os="linux", architecture="amd64")


def config(**process: Any) -> bytes:
    return json.dumps({"config": process}).encode()


def test_it_runs_what_the_image_says_over_all_trees() -> None:
    tree = image_source("docker.io/library/result:1", Constraints())
    made = make_scanner("s:1", config(Entrypoint=["scan"], Cmd=["-x"], Env=["A=b", "A=c"], WorkingDir="w"), AMD64, {"Q": "1"})

    definition = marshal(made.scan("linux/arm64", tree, {"context": scratch(), "base": tree}), MarshalDefaults(platform=AMD64))

    assert definition.result is not None
    digest = definition.result.digest
    exec_ = decode_op(definition.data[digest]).kind
    assert isinstance(exec_, ExecOp)
    assert exec_.meta.args == ("scan", "-x")
    assert exec_.meta.cwd == "/w"
    assert exec_.meta.env == (
        "A=c",
        "BUILDKIT_SCAN_DESTINATION=/run/out/",
        "BUILDKIT_SCAN_SOURCE=/run/src/core/sbom",
        "BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras",
        "BUILDKIT_SCAN_Q=1",
    )
    assert {mount.dest: mount.readonly for mount in exec_.mounts} == {
        "/": False,
        "/tmp": False,
        "/run/out/": False,
        "/run/src/core/sbom": True,
        "/run/src/extras/sbom-base": True,
        "/run/src/extras/sbom-context": True,
    }
    assert exec_.mounts[[m.dest for m in exec_.mounts].index("/run/out/")].output == definition.result.index
    assert definition.about(digest).custom_name == "[linux/arm64] generating sbom using s:1"


@pytest.mark.parametrize("bad", [b"", b"[]", b"null", config(), config(Cmd="sh"), b'{"config": 3}', b"[" * 10_000])
def test_an_image_that_runs_nothing_is_no_scanner(bad: bytes) -> None:
    with pytest.raises(BuildFailed, match="scanner s:1"):
        make_scanner("s:1", bad, AMD64, {})
