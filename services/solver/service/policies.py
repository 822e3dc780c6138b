"""Rules about sources: those of the build's request, those of a sub-solve, and a client's session that is asked (llbsolver/policy.go)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from services.solver.core.rewriting import with_sources_replaced
from services.solver.core.source_policy import evaluate
from services.solver.ports import Regexes, Verdict, Verdicts
from shared.errors import BuildFailed, BuildmeshError, first_failure
from shared.llb import BuildOp, Definition, SourceOp, decode_source_op, encode_source_op
from shared.llb.git_url import git_identifier
from shared.llb.policy import Policy, PolicyAction, decode_policy
from shared.model import Digest, Platform
from shared.oci import parse_reference
from shared.wire.messages import BridgeResolveSource, SourceMeta

ROUNDS = 10

Resolve = Callable[[BridgeResolveSource], Awaitable[SourceMeta]]


class SourcePolicies:
    """`resolve` tells a policy session more about a source, without any policy."""

    def __init__(self, request: bytes, session: str, *, regexes: Regexes, verdicts: Verdicts, resolve: Resolve) -> None:
        self._own: tuple[Policy, ...] = (decode_policy(request),) if request else ()
        self._session, self._regexes, self._verdicts, self._resolve = session, regexes, verdicts, resolve

    async def definition(self, definition: Definition, more: Sequence[bytes]) -> Definition:
        """With every source as the policies want it. Raises BuildFailed for one that is denied."""
        policies = self._with(more)
        if not (policies or self._session):
            return definition
        if any(isinstance(op.kind, BuildOp) for op in definition.ops.values()):
            raise BuildFailed("error evaluating the source policy: a build op brings sources that are not known yet")
        found = {digest: op for digest, op in definition.ops.items() if isinstance(op.kind, SourceOp)}
        replaced: dict[Digest, SourceOp] = {}

        async def one(digest: Digest, source: SourceOp, platform: Platform | None) -> None:
            replaced[digest] = await self._source(source, platform, policies)

        try:
            async with asyncio.TaskGroup() as tasks:
                for digest, op in found.items():
                    assert isinstance(op.kind, SourceOp)
                    tasks.create_task(one(digest, op.kind, op.platform), name="source policy")
        except BaseExceptionGroup as group:
            failure = first_failure(group)
            if not isinstance(failure, BuildmeshError):
                raise failure from None
            raise failure.prefixed("error evaluating the source policy") from None
        return with_sources_replaced(definition, replaced)

    async def source(self, source: SourceOp, platform: Platform | None, more: Sequence[bytes]) -> SourceOp:
        """A source that somebody wants to know about."""
        policies = self._with(more)
        if not (policies or self._session):
            return source
        try:
            return await self._source(source, platform, policies)
        except BuildmeshError as error:
            raise error.prefixed("could not resolve image due to policy") from None

    def _with(self, more: Sequence[bytes]) -> tuple[Policy, ...]:
        return (*self._own, *map(decode_policy, more))

    async def _source(self, source: SourceOp, platform: Platform | None, policies: Sequence[Policy]) -> SourceOp:
        given = source
        for _ in range(ROUNDS):
            source = await self._evaluated(normalized(source), policies)
            if not self._session:
                return _kept(given, source)
            verdict = await self._verdict(source, platform)
            match verdict.action:
                case PolicyAction.ALLOW:
                    return _kept(given, source)
                case PolicyAction.CONVERT:
                    if verdict.update is None:
                        raise BuildFailed("convert action requires updated source")
                    source = decode_source_op(verdict.update)
                case PolicyAction.DENY:
                    error = BuildFailed(f'source "{source.identifier}" not allowed by policy: action DENY')
                    raise error.with_details(verdict.denied) if verdict.denied is not None else error
                case other:
                    raise BuildFailed(f'source "{source.identifier}" not allowed by policy: action {other}')
        raise BuildFailed("too many policy requests")

    async def _evaluated(self, source: SourceOp, policies: Sequence[Policy]) -> SourceOp:
        asking = evaluate(policies, source)
        try:
            question = next(asking)
            while True:
                question = asking.send(await self._regexes.ask(question))
        except StopIteration as end:
            changed = end.value
            assert isinstance(changed, SourceOp)
            return changed

    async def _verdict(self, source: SourceOp, platform: Platform | None) -> Verdict:
        """What the session decides, once it has been told all that it wants to know."""
        known = SourceMeta(source=encode_source_op(source))
        for _ in range(ROUNDS):
            said = await self._verdicts.ask(self._session, known, platform)
            if isinstance(said, Verdict):
                return said
            asked = decode_source_op(said.source)
            if asked.identifier != source.identifier:
                raise BuildFailed(f'policy requested different source identifier: "{asked.identifier}" != "{source.identifier}"')
            if dict(asked.attrs) != dict(source.attrs):
                raise BuildFailed("policy requested different source attrs")
            try:
                known = await self._resolve(replace(said, source_policies=()))
            except BuildmeshError as error:
                raise error.prefixed("error resolving source metadata from policy request") from None
        raise BuildFailed("too many policy requests")


def normalized(source: SourceOp) -> SourceOp:
    """As rules speak of it: image names in full, git sources by host and path. What is no such name is left to whoever fetches it."""
    scheme, _, rest = source.identifier.partition("://")
    match scheme:
        case "docker-image":
            try:
                return replace(source, identifier=f"{scheme}://{parse_reference(rest).with_default_tag()}")
            except ValueError:
                return source
        case "git":
            return replace(source, identifier=git_identifier(rest, source.attrs.get("git.fullurl", "")))
    return source


def _kept(given: SourceOp, decided: SourceOp) -> SourceOp:
    """A git source that nobody has changed stays as it was written: the login in it, and the digest of its op."""
    return given if given.identifier.startswith("git://") and decided == normalized(given) else decided
