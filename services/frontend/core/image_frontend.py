"""gateway.v0: a frontend that is an image (frontend/gateway/gateway.go): which image, whether it can do what is asked, what runs in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.frontend.core.context import Contexts
from services.frontend.core.failure import DockerfileError, cap_missing
from services.frontend.core.image import Image, ImageProcess, platform_json
from services.frontend.core.named_context import find_named, image_of, reference_of, resolve_image
from services.frontend.core.options import parse_options
from services.frontend.core.outcome import Outcome
from services.frontend.core.requests import Asking, RunImage, Solve, Tree
from shared.llb import SKIP, Constraints, ExecOp, Input, MarshalDefaults, Meta, Mount, NetMode, Op, State, image_source, marshal
from shared.llb.go_text import parse_bool
from shared.model import Digest, Platform

_INPUTS = "moby.buildkit.frontend.inputs"
_CAPS_LABEL = "moby.buildkit.frontend.caps"
_NO_NETWORK_LABEL = "moby.buildkit.frontend.network.none"
_DEFAULT_PROCESS = "/run"
_PRODUCT = "buildkit"  # whose capabilities these are (util/apicaps)
_WITH_INPUTS = frozenset(
    f"sha256:{digits}"
    for digits in (
        "9ac1c43a60e31dca741a6fe8314130a9cd4c4db0311fbbc636ff992ef60ae76d",
        "080bd74d8778f83e7b670de193362d8c593c8b14f5c8fb919d28ee8feda0d069",
        "60543a9d92b92af5088fb2938fb09b2072684af8384399e153e137fe081f8ab4",
        "de85b2f3a3e8a2f7fe48e8e84a65f6fdd5cd5183afa6412fff9caa6871649c44",
    )
)
"""Releases of docker/dockerfile that take inputs without saying so."""
_ROOT = Input(digest=Digest("sha256:" + "0" * 64), index=0)
"""The tree is a result, which has no digest of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A worker as frontends see it."""

    id: str
    labels: Mapping[str, str]
    platforms: Sequence[Platform]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOrder:
    """`options` of the client, `source` among them; `has_inputs`: frontend inputs are handed over; `allowed` empty = any image."""

    options: Mapping[str, str]
    session: str
    build_platform: Platform
    machines: Sequence[Machine]
    has_inputs: bool
    local_unique_id: str
    allowed: Sequence[str] = ()


def run_image(order: ImageOrder) -> Asking[Outcome]:
    """Its result. Raises DockerfileError."""
    raw = order.options
    if "gateway-devel" in raw:
        raise DockerfileError("development gateway is no longer supported")
    if "source" not in raw:
        raise DockerfileError("no source specified for gateway")
    source = raw["source"]
    _check_allowed(source, order.allowed)
    state, image, digest = yield from _find(order, source)
    tree: Tree = yield Solve(definition=marshal(state, MarshalDefaults(platform=order.build_platform.normalized())))
    if not tree.id:
        raise DockerfileError("gateway source didn't return default result")
    _check_caps(order, image.config.labels, digest)
    given: object = yield RunImage(tree=tree, op=_process(order, image.config))
    return Outcome(given=given)


def _check_allowed(source: str, allowed: Sequence[str]) -> None:
    if allowed and reference_of(source).name not in {reference_of(name).name for name in allowed}:
        raise DockerfileError(f"'{source}' is not an allowed gateway source")


def _find(order: ImageOrder, source: str) -> Asking[tuple[State, Image, str]]:
    """The tree, the config and the digest ("" = not known): of a named context, or of the image in its registry."""
    options = parse_options(order.options, session=order.session, build_platform=order.build_platform)
    defaults = MarshalDefaults(platform=order.build_platform.normalized(), local_unique_id=order.local_unique_id)
    named = find_named(Contexts(options, defaults), source, None, lambda: ())
    if named is not None:
        state, config = yield from named.load()
        return state, config or Image(), ""
    facts = yield from resolve_image(str(reference_of(source).with_default_tag()), None, "", "")
    image = image_of(facts)
    found = reference_of(facts.identifier.removeprefix("docker-image://")).with_default_tag()
    text = str(found) if found.digest or not facts.digest else f"{found}@{facts.digest}"
    return image_source(text, Constraints(), record_type="frontend"), image, facts.digest or ""


def _check_caps(order: ImageOrder, labels: Mapping[str, str], digest: str) -> None:
    has = _caps(labels.get(_CAPS_LABEL, ""))
    if digest in _WITH_INPUTS:
        has |= {_INPUTS}
    wanted = _caps(order.options.get("frontend.caps", "")) | ({_INPUTS} if order.has_inputs else set())
    for name in sorted(wanted - has):
        raise cap_missing(name)


def _caps(text: str) -> set[str]:
    return {name for cap in text.split(",") if (name := cap.partition("+")[0])}


def _process(order: ImageOrder, config: ImageProcess) -> Op:
    env = [*config.env, *(f"BUILDKIT_FRONTEND_OPT_{n}={k}={v}" for n, (k, v) in enumerate(order.options.items()))]
    env += [
        f"BUILDKIT_SESSION_ID={order.session}",
        f"BUILDKIT_WORKERS={json.dumps([_machine_json(machine) for machine in order.machines])}",
        f"BUILDKIT_EXPORTEDPRODUCT={_PRODUCT}",
    ]
    meta = Meta(
        args=tuple(config.entrypoint) or (_DEFAULT_PROCESS,),
        env=tuple(env),
        cwd=config.working_dir or "/",
        remove_mount_stubs_recursive=True,
    )
    alone = parse_bool(config.labels.get(_NO_NETWORK_LABEL, "")) is True
    op = ExecOp(meta=meta, mounts=(Mount(dest="/", input=0, output=SKIP),), network=NetMode.NONE if alone else NetMode.SANDBOX)
    return Op(kind=op, inputs=(_ROOT,))


def _machine_json(machine: Machine) -> dict[str, object]:
    """client.WorkerInfo in Go's JSON."""
    return {
        "id": machine.id,
        "labels": dict(machine.labels),
        "platforms": [platform_json(platform) for platform in machine.platforms],
        "gcPolicy": None,
        "buildkitVersion": {"package": "", "version": "", "revision": ""},
        "cdiDevices": None,
    }
