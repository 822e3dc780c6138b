"""The predicate of a provenance attestation, SLSA v1 and v0.2 (solver/llbsolver/provenance.go, provenance/types, provenance/predicate.go).

Keys come in the order in which BuildKit writes them; parts that BuildKit keeps in maps are sorted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from services.solver.core.provenance.request import Asked, commit_digest, digest_set
from services.solver.core.provenance.sources import ImageSource, Sources, redacted
from shared.errors import BuildFailed, incomplete_materials_detail
from shared.llb.struct_json import BuildSteps
from shared.model import Platform, format_platform
from shared.model.syntax import DOCKERFILE_VERSION
from shared.oci import go_json
from shared.oci.purl import image_purl

Json = dict[str, Any]

_V1_TYPE = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_V02_TYPE = "https://mobyproject.org/buildkit@v1"
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Slsa(StrEnum):
    """Versions of the predicate; the value is the `version` attribute."""

    V1 = "v1"
    V02 = "v0.2"

    @property
    def predicate_type(self) -> str:
        return f"https://slsa.dev/provenance/{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Attributes of `attest:provenance`. `full`: with definition, source files and layers (mode=max)."""

    version: Slsa = Slsa.V1
    full: bool = True
    builder_id: str = ""
    filename: str = "provenance.json"
    inline_only: bool = False
    reproducible: bool = False
    complete_materials: bool = False


def parse_wishes(attrs: Mapping[str, str]) -> Wishes:
    """Raises BuildFailed naming the attribute."""
    mode = attrs.get("mode", "max")
    if mode not in ("min", "max", "full"):
        raise BuildFailed(f'invalid mode "{mode[:100]}"')
    version = attrs.get("version") or Slsa.V1
    if version not in Slsa._value2member_map_:
        raise BuildFailed(f"invalid provenance SLSA version: {version[:100]}")
    return Wishes(
        version=Slsa(version),
        full=mode != "min",
        builder_id=attrs.get("builder-id", ""),
        filename=attrs.get("filename", "provenance.json"),
        inline_only=attrs.get("inline-only", "") in _TRUE,
        reproducible=_flag(attrs, "reproducible"),
        complete_materials=_flag(attrs, "complete-materials"),
    )


def _flag(attrs: Mapping[str, str], key: str) -> bool:
    text = attrs.get(key, "false")
    if text not in _TRUE | _FALSE:
        raise BuildFailed(f'failed to parse {key} flag "{text[:100]}": strconv.ParseBool: parsing "{text[:100]}": invalid syntax')
    return text in _TRUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is told. Times in ns; `layers` by `step0:0`: chains of descriptors as JSON; `env` is the daemon's own addition."""

    asked: Asked
    sources: Sources
    invocation: str
    started: int
    finished: int
    platform: Platform
    compatibility: int
    env: Mapping[str, Any] = field(default_factory=dict)
    steps: BuildSteps | None = None
    layers: Mapping[str, Sequence[Sequence[Json]]] = field(default_factory=dict)


def predicate(facts: Facts, wishes: Wishes) -> bytes:
    """The predicate, compact: BuildKit indents it for the history, which costs ten times as much here.

    Raises BuildFailed for incomplete materials where complete ones are demanded.
    """
    sources = facts.sources
    complete = not (sources.incomplete or sources.local)
    if wishes.complete_materials and not complete:
        raise _incomplete(sources)
    request_complete = bool(facts.asked.frontend)
    if not wishes.full:
        shown, lost = facts.asked.scrubbed()
        request_complete = request_complete and not lost
        facts = replace(facts, asked=shown, steps=None, layers={})
    write = _v1 if wishes.version is Slsa.V1 else _v02
    return go_json(write(facts, wishes, complete, request_complete))


def _v1(facts: Facts, wishes: Wishes, complete: bool, request_complete: bool) -> Json:
    internal = {"builderPlatform": _builder(facts), **_dockerfile(facts), **_config(facts)}
    metadata = {
        "invocationId": facts.invocation,
        "startedOn": _moment(facts.started),
        "finishedOn": _moment(facts.finished),
        "buildkit_metadata": _buildkit(facts),
        **({"buildkit_hermetic": True} if _hermetic(facts, complete) else {}),
        "buildkit_completeness": {"request": request_complete, "resolvedDependencies": complete},
        **({"buildkit_reproducible": True} if wishes.reproducible else {}),
    }
    dependencies = [_kept(uri=uri, digest=digest) for uri, digest in _materials(facts.sources)]
    return {
        "buildDefinition": {
            "buildType": _V1_TYPE,
            **_kept(resolvedDependencies=dependencies),
            "externalParameters": {"configSource": facts.asked.source.to_json(), "request": _request(facts, wishes)},
            "internalParameters": _sorted({**internal, **facts.env}),
        },
        "runDetails": {"builder": {"id": wishes.builder_id}, "metadata": metadata},
    }


def _v02(facts: Facts, wishes: Wishes, complete: bool, request_complete: bool) -> Json:
    environment = {"platform": _builder(facts), **_dockerfile(facts), **facts.env}
    config = _config(facts).get("buildConfig")
    return {
        "builder": {"id": wishes.builder_id},
        "buildType": _V02_TYPE,
        **_kept(materials=[_kept(uri=uri, digest=digest) for uri, digest in _materials(facts.sources)]),
        "invocation": {
            "configSource": facts.asked.source.to_json(path_key="entryPoint"),
            "parameters": _request(facts, wishes),
            "environment": _sorted(environment),
        },
        **({"buildConfig": config} if config is not None else {}),
        "metadata": {
            "buildInvocationID": facts.invocation,
            "buildStartedOn": _moment(facts.started),
            "buildFinishedOn": _moment(facts.finished),
            "completeness": {"parameters": request_complete, "environment": True, "materials": complete},
            "reproducible": wishes.reproducible,
            "https://mobyproject.org/buildkit@v1#metadata": _buildkit(facts),
            **({"https://mobyproject.org/buildkit@v1#hermetic": True} if _hermetic(facts, complete) else {}),
        },
    }


def _request(facts: Facts, wishes: Wishes) -> Json:
    sources = facts.sources
    asked = replace(facts.asked, args={k: v for k, v in facts.asked.args.items() if not k.startswith("vcs:")})
    held = {} if not wishes.full else {"secrets": _ids(sources.secrets), "ssh": _ids(sources.ssh)}
    locals_ = [{"name": name} for name in sorted(sources.local)]
    return {**asked.request_json(**held, locals=locals_), "compatibilityVersion": facts.compatibility}


def _ids(found: Mapping[str, bool]) -> list[Json]:
    return [{"id": id, **({"optional": True} if optional else {})} for id, optional in sorted(found.items())]


def _buildkit(facts: Facts) -> Json:
    vcs = {k.removeprefix("vcs:"): redacted(v) if k == "vcs:source" else v for k, v in facts.asked.args.items() if k.startswith("vcs:")}
    source = facts.steps.source if facts.steps is not None else None
    layers = {step: [list(chain) for chain in chains] for step, chains in sorted(facts.layers.items())}
    return _kept(vcs={key: value for key, value in sorted(vcs.items()) if value}, source=source, layers=layers)


def _config(facts: Facts) -> Json:
    if facts.steps is None:
        return {}
    build = facts.steps.build
    return {"buildConfig": _kept(llbDefinition=list(build.steps), digestMapping=build.names)}


def _dockerfile(facts: Facts) -> Json:
    return {"dockerfileVersion": DOCKERFILE_VERSION} if facts.asked.frontend == "dockerfile.v0" else {}


def _builder(facts: Facts) -> str:
    return format_platform(facts.platform.normalized())


def _hermetic(facts: Facts, complete: bool) -> bool:
    return complete and not facts.sources.network


def _materials(sources: Sources) -> list[tuple[str, dict[str, str]]]:
    """Images, blobs of images, repositories, files: each by name."""
    found = [(_image_uri(image), digest_set(image.digest)) for image in sources.named_images()]
    for (ref, local), digest in sorted(sources.blobs.items()):
        found.append((image_purl(ref, kind="oci" if local else "docker", ref_type="blob"), digest_set(digest)))
    for url, commit in sorted(sources.git.items()):
        found.append((url, commit_digest(commit)))
        found += [_bundle(locator, url) for of, locator in sorted(sources.bundles) if of == url]
    return found + [(url, digest_set(digest)) for url, digest in sorted(sources.http.items())]


def _bundle(locator: str, url: str) -> tuple[str, dict[str, str]]:
    """The blob that the objects of a repository came from."""
    scheme, _, rest = locator.partition("://")
    name, _, digest = rest.rpartition("@")
    return image_purl(name, kind="oci" if scheme.startswith("oci") else "docker", ref_type="bundle", vcs_url=url), digest_set(digest)


def _image_uri(image: ImageSource) -> str:
    return image_purl(image.ref, image.platform, kind="oci" if image.local else "docker")


def _moment(ns: int) -> str:
    """RFC 3339 with as many digits as there are."""
    seconds, rest = divmod(ns, 10**9)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".") if rest else ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def _sorted(value: Any) -> Any:
    match value:
        case dict():
            return {key: _sorted(value[key]) for key in sorted(value)}
        case list():
            return [_sorted(item) for item in value]
    return value


def _kept(**fields: Any) -> Json:
    return {key: value for key, value in fields.items() if value}


def _incomplete(sources: Sources) -> BuildFailed:
    text = (
        "provenance materials are incomplete\n\n"
        "The build requested complete provenance materials, but not all dependencies could be captured."
    )
    if sources.local:
        text += "\n\nUncaptured local sources:" + "".join(f"\n  - {name}\n    reason: local_source" for name in sorted(sources.local))
    return BuildFailed(text, details=[incomplete_materials_detail([(name, "local_source") for name in sorted(sources.local)])])
