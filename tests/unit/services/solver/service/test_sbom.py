"""SBOMs of results whose frontends make none."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.solver.service.sbom import with_sbom
from shared.errors import BuildFailed
from shared.llb import Constraints, Definition, ExecOp, MarshalDefaults, decode_definition, encode_definition, image_source, marshal
from shared.model import Platform
from shared.wire.messages import SPDX, Attestation, BridgeRef, BridgeResolveSource, BridgeResult, SolveBuild, SourceMeta

AMD64 = Platform(os="linux", architecture="amd64")
TREE = encode_definition(marshal(image_source("docker.io/library/result:1", Constraints()), MarshalDefaults(platform=AMD64)))
PLATFORMS = json.dumps({"Platforms": [{"ID": id, "Platform": {"os": "linux", "architecture": "arm64"}} for id in ("a", "b")]}).encode()
MAP = BridgeResult(refs={"a": BridgeRef(id="one"), "b": BridgeRef(id="")}, metadata={"refs.platforms": PLATFORMS})


@dataclass
class Handle:
    raw: bytes = TREE


class Handles:
    """All of one tree."""

    def get(self, id: str) -> Handle:
        return Handle()


@dataclass
class Build:
    """Takes note of what is loaded."""

    options: dict[str, str] = field(default_factory=dict)
    config: bytes = b'{"config": {"Cmd": ["go"]}}'
    wishes: dict[str, dict[str, str]] = field(default_factory=lambda: {"sbom": {"generator": "scan", "K": "v"}})
    asked: list[BridgeResolveSource] = field(default_factory=list)
    loaded: list[Definition] = field(default_factory=list)
    default_platform: Platform = AMD64
    handles: Handles = field(default_factory=Handles)

    @property
    def request(self) -> SolveBuild:
        return SolveBuild(ref="b", session="s", frontend_opts=self.options, attestations=self.wishes)

    async def look_up(self, request: BridgeResolveSource) -> SourceMeta:
        self.asked.append(request)
        return SourceMeta(source=request.source, image_config=self.config)

    async def load(self, raw: bytes) -> BridgeRef:
        self.loaded.append(decode_definition(raw))
        return BridgeRef(id=f"scan-{len(self.loaded)}")


async def scanned(build: Any, result: BridgeResult) -> dict[str, tuple[Attestation, ...]]:
    return dict((await with_sbom(build, result)).attestations)


async def test_every_platform_that_has_a_tree_is_scanned() -> None:
    build = Build(options={"no-cache": "", "image-resolve-mode": "pull"})
    other = Attestation(kind=0, path="p", predicate_type="https://example.org/p")

    found = await scanned(build, replace(MAP, attestations={"a": (other,)}))

    assert found.keys() == {"a"}
    assert found["a"][0] is other
    bundle = found["a"][1]
    assert (bundle.kind, bundle.predicate_type, bundle.ref) == (1, SPDX, BridgeRef(id="scan-1"))
    assert bundle.metadata == {"reason": b"sbom", "sbom-core": b"sbom"}
    definition = build.loaded[0]
    assert definition.result is not None
    run = definition.ops[definition.result.digest].kind
    assert isinstance(run, ExecOp)
    assert "BUILDKIT_SCAN_K=v" in run.meta.env
    assert definition.about(definition.result.digest).ignore_cache
    assert build.asked[0].resolve_mode == "pull"


async def test_a_single_result_is_scanned_for_its_platform() -> None:
    build = Build()

    assert (await scanned(build, BridgeResult(ref=BridgeRef(id="one")))).keys() == {"linux/amd64"}
    assert await scanned(build, BridgeResult()) == {}


async def test_a_frontend_that_made_one_is_believed() -> None:
    build = Build()
    theirs = Attestation(kind=0, path="p", predicate_type=SPDX)

    assert await scanned(build, replace(MAP, attestations={"b": (theirs,)})) == {"b": (theirs,)}
    assert build.asked == []


async def test_nothing_is_scanned_unless_asked() -> None:
    build = Build(wishes={"provenance": {}})

    assert await scanned(build, MAP) == {}


async def test_what_cannot_be_scanned_is_an_error() -> None:
    with pytest.raises(BuildFailed, match="could not find ref b"):
        await scanned(Build(), replace(MAP, refs={"a": BridgeRef(id="one")}))
    with pytest.raises(BuildFailed, match="does not have cmd"):
        await scanned(Build(config=b"{}"), MAP)
    with pytest.raises(BuildFailed, match="failed to parse sbom generator"):
        await scanned(Build(wishes={"sbom": {"generator": "A b"}}), MAP)
