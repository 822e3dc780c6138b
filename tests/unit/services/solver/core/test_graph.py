"""Definitions become vertices; what may not be asked for is refused."""

import pytest

from services.solver.core.entitlements import grant
from services.solver.core.graph import LlbOp, LoadRules, load_graph
from shared.errors import BuildFailed
from shared.llb import (
    CacheOpt,
    Definition,
    NetMode,
    RunOptions,
    State,
    TreeMount,
    decode_definition,
    encode_definition,
    image_source,
    marshal,
)
from shared.llb.marshal import MarshalDefaults
from shared.llb.state_values import Process
from shared.llb.vertices import Constraints
from shared.model import Platform

LINUX = Platform(os="linux", architecture="amd64")
RULES = LoadRules(default_platform=LINUX)


def loaded(state: State) -> Definition:
    return decode_definition(encode_definition(marshal(state, MarshalDefaults(platform=LINUX))))


def step(*mounts: TreeMount, network: NetMode = NetMode.SANDBOX, **constraints: object) -> State:
    base = image_source("docker.io/library/busybox:latest", Constraints())
    process = Process(args=("make", "all"), directory="/", network=network)
    return base.run(process, RunOptions(mounts=mounts), Constraints(**constraints))  # type: ignore[arg-type]


def test_names_and_digests_are_those_of_the_definition() -> None:
    """A custom name wins over what the op is called."""
    definition = loaded(step())
    output = load_graph(definition, RULES)
    assert output is not None and definition.result is not None
    assert (output.vertex.digest, output.vertex.name) == (definition.result.digest, "make all")
    named = load_graph(loaded(step(description={"llb.customname": "[1/2] RUN make"})), RULES)
    assert named is not None and named.vertex.name == "[1/2] RUN make"


def test_an_empty_definition_is_scratch() -> None:
    """No result, no vertices."""
    assert load_graph(Definition(), RULES) is None


def test_platform_is_filled_in_after_digesting() -> None:
    """The bytes stay what they were."""
    output = load_graph(loaded(step()), LoadRules(default_platform=Platform(os="linux", architecture="arm64", variant="v8")))
    assert output is not None and isinstance(output.vertex.op, LlbOp)
    assert output.vertex.op.platform == LINUX


def test_an_ignored_cache_empties_the_cache_mounts_of_its_step() -> None:
    """By id, or by place when the id is empty."""
    mount = TreeMount(target="/go", cache=CacheOpt(id="mod"))
    for ignore, expected in ((False, ()), (True, ("mod",))):
        output = load_graph(loaded(step(mount, ignore_cache=ignore)), RULES)
        assert output is not None and output.vertex.op.prune_mounts == expected
        assert output.vertex.options.ignore_cache is ignore


def test_host_network_needs_its_entitlement() -> None:
    """Refused before anything runs."""
    with pytest.raises(BuildFailed, match=r"^network\.host is not allowed$"):
        load_graph(loaded(step(network=NetMode.HOST)), RULES)
    allowed = LoadRules(default_platform=LINUX, entitlements=("network.host",))
    assert load_graph(loaded(step(network=NetMode.HOST)), allowed) is not None


def test_unknown_capabilities_are_refused() -> None:
    """A definition says what it needs of the server."""
    with pytest.raises(BuildFailed, match=r"unknown API capability made\.up"):
        load_graph(loaded(step(caps={"made.up": True})), RULES)


@pytest.mark.parametrize(
    ("requested", "supported", "outcome"),
    [
        (("network.host",), ("network.host",), ("network.host",)),
        (("device=gpu", "device=gpu"), ("device",), ("device=gpu",)),
        (("network.host",), (), "granting entitlement network.host is not allowed by build daemon configuration"),
        (("root",), ("network.host",), "unknown entitlement root"),
    ],
)
def test_granting(requested: tuple[str, ...], supported: tuple[str, ...], outcome: object) -> None:
    """The daemon's list decides first."""
    if isinstance(outcome, tuple):
        assert grant(requested, supported) == outcome
    else:
        with pytest.raises(BuildFailed) as caught:
            grant(requested, supported)
        assert caught.value.message == outcome
