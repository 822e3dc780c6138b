"""Who is asked for a registry, and how."""

from shared.registry.hosts import HostConfig, RegistryHosts, is_local


def test_docker_hub_is_asked_at_its_own_host_after_the_mirrors() -> None:
    """Mirrors come first for pulls and never get pushes; a mirror's path goes behind /v2."""
    hosts = RegistryHosts(configs={"docker.io": HostConfig(mirrors=("localhost:5000", "m.example/cache"))})

    assert [(e.host, e.root, e.schemes, e.push) for e in hosts.endpoints("docker.io")] == [
        ("localhost:5000", "/v2", ("http",), False),
        ("m.example", "/v2/cache", ("https",), False),
        ("registry-1.docker.io", "/v2", ("https",), True),
    ]
    assert [e.host for e in hosts.endpoints("docker.io", push=True)] == ["registry-1.docker.io"]


def test_insecure_tries_https_first() -> None:
    """And a plain http entry is believed."""
    hosts = RegistryHosts(configs={"a": HostConfig(http=True), "b": HostConfig(insecure=True), "c": HostConfig(http=False, insecure=True)})

    assert hosts.endpoints("a")[0].schemes == ("http",)
    assert hosts.endpoints("b")[0].schemes == ("https", "http")
    assert (hosts.endpoints("c")[0].schemes, hosts.endpoints("c")[0].skip_verify) == (("https",), True)
    assert hosts.endpoints("d", insecure=True)[0].skip_verify


def test_loopback_names() -> None:
    """Only these are plain HTTP without being told."""
    assert all(map(is_local, ("localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000")))
    assert not any(map(is_local, ("localhost.example.com", "10.0.0.1", "example.com:5000")))
