"""A policy session's answers, and those that never come."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.solver.adapters.policy_sessions import PolicySessions
from services.solver.ports import Verdict
from shared.errors import InvalidInput, Unavailable
from shared.pb import gateway_pb2, ops_pb2, source_policy_pb2
from shared.pb import policy_session_pb2 as pb
from shared.rpc.framing import frame
from shared.wire.messages import BridgeResolveSource, SourceMeta

KNOWN = SourceMeta(source=ops_pb2.SourceOp(identifier="docker-image://x").SerializeToString())


class Session:
    """Gives one answer; None = none ever."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.headers: Mapping[str, str] = {}
        self._given = False

    @asynccontextmanager
    async def open(self, session: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Any]:
        yield self

    async def send(self, chunk: bytes) -> None: ...

    async def close_send(self) -> None: ...

    async def receive(self) -> bytes:
        if self.answer is None:
            await asyncio.Event().wait()
        given, self._given = self._given, True
        return b"" if given else frame(self.answer or b"")


async def asked(answer: bytes | None, within: float = 30.0) -> Verdict | BridgeResolveSource:
    links: Any = Session(answer)
    return await PolicySessions(links, within).ask("s", KNOWN, None)


async def test_decisions_with_their_reasons() -> None:
    denied = pb.DecisionResponse(action=source_policy_pb2.PolicyAction.DENY, denyMessages=[pb.DenyMessage(message="no")])
    said = await asked(pb.CheckPolicyResponse(decision=denied).SerializeToString())

    assert isinstance(said, Verdict)
    assert said.action == source_policy_pb2.PolicyAction.DENY
    assert said.denied is not None
    assert said.denied.json() == {"denyMessages": [{"message": "no"}]}
    assert await asked(b"") == Verdict(action=-1)


async def test_questions_about_attestations() -> None:
    image = gateway_pb2.ResolveSourceImageRequest(ResolveAttestations=["t"])
    request = gateway_pb2.ResolveSourceMetaRequest(Source=ops_pb2.SourceOp(identifier="docker-image://x"), Image=image)
    said = await asked(pb.CheckPolicyResponse(request=request).SerializeToString())

    assert isinstance(said, BridgeResolveSource)
    assert said.image.predicates == ("t",)


async def test_a_client_that_does_not_answer_holds_nothing_up() -> None:
    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        await asked(None, within=0.05)
    with pytest.raises(InvalidInput, match="can't be read"):
        await asked(b"\xff")
