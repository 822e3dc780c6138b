"""PolicyVerifier of a client's session (sourcepolicy/policysession/policysession.proto)."""

import asyncio
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from services.solver.ports import Verdict
from shared.bridge.codec import platform_message, read_resolve, source_meta_message
from shared.errors import Detail, InvalidInput, Unavailable
from shared.model import Platform
from shared.pb import policy_session_pb2 as pb
from shared.session.ports import SessionLinks
from shared.session.unary import unary
from shared.wire.messages import BridgeResolveSource, SourceMeta

CHECK: Final = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
WITHIN: Final = 600.0
"""Seconds for one answer: people may be asked, but a client that has lost the question must not hold up a build for ever."""
_DECISION: Final = "github.com/moby/buildkit/policysession.DecisionResponse+json"


class PolicySessions:
    """Implements the port Verdicts."""

    def __init__(self, links: SessionLinks, within: float = WITHIN) -> None:
        self._links, self._within = links, within

    async def ask(self, session: str, known: SourceMeta, platform: Platform | None) -> Verdict | BridgeResolveSource:
        request = pb.CheckPolicyRequest(Source=source_meta_message(known))
        if platform is not None:
            request.Platform.CopyFrom(platform_message(platform))
        answer = await self._answer(session, request.SerializeToString())
        if answer.HasField("request"):
            return read_resolve(answer.request)
        if not answer.HasField("decision"):
            return Verdict(action=-1)
        decision = answer.decision
        denied = None
        if decision.denyMessages:
            denied = Detail(type_url=_DECISION, value=_json(pb.DecisionResponse(denyMessages=decision.denyMessages)))
        update = decision.update.SerializeToString() if decision.HasField("update") else None
        return Verdict(action=int(decision.action), update=update, denied=denied)

    async def _answer(self, session: str, request: bytes) -> pb.CheckPolicyResponse:
        try:
            async with asyncio.timeout(self._within):
                return pb.CheckPolicyResponse.FromString(await unary(self._links, session, CHECK, request))
        except TimeoutError:
            raise Unavailable(f"the policy session did not answer within {self._within:g} s") from None
        except DecodeError as error:
            raise InvalidInput(f"the policy session gave an answer that can't be read: {error}") from None


def _json(message: pb.DecisionResponse) -> bytes:
    return json_format.MessageToJson(message, indent=None).encode()
