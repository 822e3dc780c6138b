"""Where a registry is asked: mirrors first, then itself (BuildKit util/resolver/resolver.go, containerd remotes/docker/registry.go)."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

_DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """`[registry."host"]` of buildkitd.toml. `http`/`insecure` None = not given."""

    mirrors: tuple[str, ...] = ()
    http: bool | None = None
    insecure: bool | None = None
    ca: tuple[str, ...] = ()
    keypairs: tuple[tuple[str, str], ...] = ()  # (key file, cert file)
    tls_dirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address to ask. `schemes` are tried in order; `root` is the API root such as `/v2`; `domain` is whom the answer speaks for."""

    host: str
    schemes: tuple[str, ...]
    root: str = "/v2"
    domain: str = ""
    skip_verify: bool = False
    push: bool = True
    tls: HostConfig = field(default_factory=HostConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryHosts:
    """Settings of all registries by name."""

    configs: Mapping[str, HostConfig] = field(default_factory=dict)

    def endpoints(self, domain: str, *, insecure: bool = False, push: bool = False) -> tuple[Endpoint, ...]:
        """Who is asked for `domain`, in order. Mirrors never receive pushes. `insecure`: as if the settings said so."""
        config = self.configs.get(domain, HostConfig())
        mirrors = () if push else tuple(self._mirror(domain, text) for text in config.mirrors)
        host = _DOCKER_HUB if domain == "docker.io" else domain
        return (*mirrors, self._endpoint(host, domain, config, root="/v2", push=True, insecure=insecure))

    def _mirror(self, domain: str, text: str) -> Endpoint:
        host, _, path = text.partition("/")
        root = f"/v2/{path.strip('/')}" if path else "/v2"
        return self._endpoint(host, domain, self.configs.get(host, HostConfig()), root=root, push=False, insecure=False)

    def _endpoint(self, host: str, domain: str, config: HostConfig, *, root: str, push: bool, insecure: bool) -> Endpoint:
        insecure = insecure or config.insecure is True
        return Endpoint(
            host=host,
            schemes=_schemes(host, config.http, insecure),
            root=root,
            domain=domain,
            skip_verify=insecure,
            push=push,
            tls=config,
        )


def _schemes(host: str, http: bool | None, insecure: bool) -> tuple[str, ...]:
    local = is_local(host)
    if insecure and (http is True or (local and http is None)):
        return ("https", "http")
    if insecure and http is None:
        return ("https", "http")
    if http is True or (http is None and local):
        return ("http",)
    return ("https",)


def is_local(host: str) -> bool:
    """`localhost` or a loopback address, with or without a port (containerd MatchLocalhost)."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
