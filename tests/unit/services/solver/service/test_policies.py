"""Policies of a build, as its definitions meet them."""

from typing import Any

import pytest

from services.solver.service.policies import SourcePolicies
from shared.errors import BuildFailed
from shared.llb import BuildOp, Definition, Input, Op, SourceOp, decode_definition, encode_op
from shared.llb.codec import op_digest
from shared.pb import ops_pb2, source_policy_pb2


class Nobody:
    """Is not asked."""

    async def ask(self, *_: Any) -> Any:
        raise AssertionError("nothing is to be asked")


def policies(request: bytes) -> SourcePolicies:
    nobody = Nobody()
    return SourcePolicies(request, "", regexes=nobody, verdicts=nobody, resolve=nobody.ask)


def nested() -> Definition:
    """A build op over an image that holds its definition."""
    source = encode_op(Op(kind=SourceOp(identifier="docker-image://docker.io/library/busybox:latest")))
    inner = Input(digest=op_digest(source), index=0)
    build = encode_op(Op(kind=BuildOp(builder=-1, inputs={"buildkit.llb.definition": 0}), inputs=(inner,)))
    last = ops_pb2.Op(inputs=[ops_pb2.Input(digest=op_digest(build), index=0)]).SerializeToString()
    return decode_definition(ops_pb2.Definition(**{"def": [source, build, last]}).SerializeToString())


async def test_a_build_op_is_no_way_around_a_policy() -> None:
    """What it loads is not seen by the policy; without one it may be."""
    selector = source_policy_pb2.Selector(identifier="docker-image://*evil*")
    deny = source_policy_pb2.Rule(action=source_policy_pb2.PolicyAction.DENY, selector=selector)
    asked = nested()

    with pytest.raises(BuildFailed, match="a build op brings sources"):
        await policies(source_policy_pb2.Policy(rules=[deny]).SerializeToString()).definition(asked, ())

    assert await policies(b"").definition(asked, ()) is asked


async def test_git_sources_are_compared_however_they_are_written() -> None:
    """By where they are fetched from; one that no rule speaks of keeps its login."""
    selector = source_policy_pb2.Selector(identifier="git://example.org/x.git#main:sub", match_type=source_policy_pb2.EXACT)
    deny = source_policy_pb2.Rule(action=source_policy_pb2.PolicyAction.DENY, selector=selector)
    asked = policies(source_policy_pb2.Policy(rules=[deny]).SerializeToString())

    for identifier, url in (("git://example.org/x.git#main:../sub", ""), ("git://other.org/y#main:sub", "https://u@example.org/x.git")):
        with pytest.raises(BuildFailed, match="denied by policy"):
            await asked.source(SourceOp(identifier=identifier, attrs={"git.fullurl": url} if url else {}), None, ())
    other = SourceOp(identifier="git://me@example.org/y#main:../sub")
    assert await asked.source(other, None, ()) is other
