"""What the client asked for: frontend options as a value (frontend/dockerui/config.go, attr.go)."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from services.frontend.core.dockerfile.linter import LintOptions, parse_lint_options
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import csv_fields, parse_int
from services.frontend.core.requests import CacheImport
from services.frontend.core.resources import parse_resources, parse_ulimit
from shared.llb import HostIP, NetMode, Resources, Ulimit
from shared.llb.go_text import parse_bool, quote
from shared.model import Platform, parse_platform

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`raw` has all of them as given; `build_platform` is the platform of the machines that build.

    `no_cache` None = caches are used; empty = no stage uses them; else names of stages.
    """

    raw: Mapping[str, str]
    session: str
    build_platform: Platform
    target_platforms: tuple[Platform, ...] = ()
    multi_platform: bool = False
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    resolve_mode: str = ""
    extra_hosts: tuple[HostIP, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    resources: Resources | None = None
    network: NetMode = NetMode.SANDBOX
    no_cache: tuple[str, ...] | None = None
    cache_imports: tuple[CacheImport, ...] = ()
    cache_namespace: str = ""
    cgroup_parent: str = ""
    hostname: str = ""
    lint: LintOptions | None = None
    local_sessions: Mapping[str, str] = field(default_factory=dict)
    sbom: Mapping[str, str] | None = None

    def session_of(self, local: str) -> str:
        """The session that has the local directory `local`."""
        return self.local_sessions.get(local, self.session)

    def ignores_cache(self, stage: str) -> bool:
        if not self.no_cache:
            return self.no_cache is not None
        return stage.lower() in (name.lower() for name in self.no_cache)


def parse_options(raw: Mapping[str, str], *, session: str, build_platform: Platform) -> Options:
    """Raises DockerfileError naming the option."""
    platforms = _platforms(raw.get("platform", ""))
    return Options(  # what can be wrong in BuildKit's order, so that the same error comes first
        raw=raw,
        session=session,
        build_platform=build_platform,
        target_platforms=platforms,
        resolve_mode=_resolve_mode(raw.get("image-resolve-mode", "")),
        extra_hosts=_extra_hosts(raw.get("add-hosts", "")),
        shm_size=_shm_size(raw.get("shm-size", "")),
        ulimits=_ulimits(raw.get("ulimit", "")),
        resources=_resources(raw),
        network=_network(raw.get("force-network-mode", "")),
        no_cache=_no_cache(raw.get("no-cache")),
        multi_platform=_multi_platform(raw, platforms),
        cache_imports=_cache_imports(raw),
        sbom=_sbom(raw),
        build_args=_with_prefix(raw, "build-arg:"),
        labels=_with_prefix(raw, "label:"),
        cache_namespace=raw.get("build-arg:BUILDKIT_CACHE_MOUNT_NS", ""),
        cgroup_parent=raw.get("cgroup-parent", ""),
        target=raw.get("target", ""),
        hostname=raw.get("build-arg:BUILDKIT_SANDBOX_HOSTNAME") or raw.get("hostname", ""),
        lint=_lint(raw.get("build-arg:BUILDKIT_DOCKERFILE_CHECK")),
        local_sessions=_with_prefix(raw, "local-sessionid:"),
    )


def _with_prefix(raw: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: value for key, value in raw.items() if key.startswith(prefix)}


def _platforms(text: str) -> tuple[Platform, ...]:
    platforms: list[Platform] = []
    for part in text.split(",") if text else ():
        try:
            platforms.append(parse_platform(part))
        except ValueError as error:
            raise DockerfileError(f"failed to parse target platform {part}: {error}") from None
    return tuple(platforms)


def _multi_platform(raw: Mapping[str, str], platforms: tuple[Platform, ...]) -> bool:
    text = raw.get("build-arg:BUILDKIT_MULTI_PLATFORM") or raw.get("multi-platform", "")
    several = len(platforms) > 1
    if not text:
        return several
    wanted = parse_bool(text)
    if wanted is None:
        raise DockerfileError(f"invalid boolean value for multi-platform: {text}")
    if several and not wanted:
        raise DockerfileError("conflicting config: returning multiple target platforms is not allowed")
    return wanted


def _resolve_mode(text: str) -> str:
    if text not in ("", "default", "pull", "local"):
        raise DockerfileError(f"invalid image-resolve-mode: {text}")
    return "" if text == "default" else text


def _extra_hosts(text: str) -> tuple[HostIP, ...]:
    try:
        return tuple(_host(part) for part in csv_fields(text)) if text else ()
    except DockerfileError as error:
        raise error.prefixed("failed to parse additional hosts") from None


def _host(part: str) -> HostIP:
    host, found, address = part.lower().partition("=")
    if not found:
        raise DockerfileError(f"invalid key-value pair {part}")
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise DockerfileError(f"failed to parse IP {address}") from None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return HostIP(host=host, ip=str(ip.ipv4_mapped))
    return HostIP(host=host, ip=str(ip))


def _shm_size(text: str) -> int:
    try:
        return parse_int(text) if text else 0
    except DockerfileError as error:
        raise error.prefixed("failed to parse shm size") from None


def _ulimits(text: str) -> tuple[Ulimit, ...]:
    try:
        return tuple(parse_ulimit(part) for part in csv_fields(text)) if text else ()
    except DockerfileError as error:
        raise error.prefixed("failed to parse ulimit") from None


def _resources(raw: Mapping[str, str]) -> Resources | None:
    try:
        return parse_resources(raw)
    except DockerfileError as error:
        raise error.prefixed("failed to parse resource limits") from None


def _network(text: str) -> NetMode:
    modes = {"": NetMode.SANDBOX, "sandbox": NetMode.SANDBOX, "none": NetMode.NONE, "host": NetMode.HOST}
    if text not in modes:
        raise DockerfileError(f"invalid netmode {text}")
    return modes[text]


def _no_cache(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(text.split(",")) if text else ()


def _cache_imports(raw: Mapping[str, str]) -> tuple[CacheImport, ...]:
    imports: list[CacheImport] = []
    if text := raw.get("cache-imports"):
        imports += _cache_imports_json(text)
    if text := raw.get("cache-from"):
        imports += [CacheImport(type="registry", attrs={"ref": ref}) for ref in text.split(",")]
    return tuple(imports)


def _cache_imports_json(text: str) -> list[CacheImport]:
    try:
        return [_cache_import(entry) for entry in _expect(json.loads(text), list)]
    except (ValueError, RecursionError) as error:
        raise DockerfileError(f"failed to unmarshal cache-imports ({quote(text)}): {error}") from None


def _cache_import(entry: Any) -> CacheImport:
    fields = {key.lower(): value for key, value in _expect(entry, dict).items()}
    attrs = {key: _expect(value, str) for key, value in _expect(fields.get("attrs"), dict).items()}
    return CacheImport(type=_expect(fields.get("type"), str), attrs=attrs)


def _expect(value: Any, kind: type[T]) -> T:
    """Null is the zero value. Raises ValueError."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ValueError(f"json: cannot unmarshal {_JSON_KINDS.get(type(value), 'number')} into a {_JSON_KINDS[kind]}")
    return value


_JSON_KINDS: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "bool"}


def _lint(text: str | None) -> LintOptions | None:
    if text is None:
        return None
    try:
        return parse_lint_options(text)
    except DockerfileError as error:
        raise error.prefixed("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK") from None


def _sbom(raw: Mapping[str, str]) -> dict[str, str] | None:
    """Attributes of the SBOM attestation, None when none is asked for (frontend/attestations/parse.go)."""
    found = {k[7:].lower(): v for k, v in raw.items() if k.startswith("attest:")}
    prefix = "build-arg:BUILDKIT_ATTEST_"
    found |= {k[len(prefix) :].lower(): v for k, v in raw.items() if k.startswith(prefix)}
    for kind in found:
        if kind not in ("sbom", "provenance"):
            raise DockerfileError(f"unknown attestation type {quote(kind)}")
    if "sbom" not in found:
        return None
    attrs = {"generator": "docker/buildkit-syft-scanner:stable-1"}
    try:
        for part in csv_fields(found["sbom"]) if found["sbom"] else ():
            key, _, value = part.partition("=")
            attrs[key] = value
    except DockerfileError as error:
        raise error.prefixed("failed to parse sbom") from None
    return attrs
