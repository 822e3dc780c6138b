"""Frontend options."""

import pytest

from services.frontend.core.failure import DockerfileError
from services.frontend.core.options import Options, parse_options
from services.frontend.core.requests import CacheImport
from services.frontend.core.resources import parse_resources, parse_ulimit
from shared.llb import HostIP, NetMode, Resources, Ulimit
from shared.model import Platform

AMD64 = Platform(os="linux", architecture="amd64")


def options(**raw: str) -> Options:
    named = {key.replace("__", ":").replace("_", "-"): value for key, value in raw.items()}
    return parse_options(named, session="s", build_platform=AMD64)


def test_everything_has_a_default() -> None:
    found = options()

    assert (found.target_platforms, found.multi_platform, found.no_cache, found.network) == ((), False, None, NetMode.SANDBOX)
    assert not found.ignores_cache("x")
    assert found.session_of("context") == "s"


def test_values_are_read() -> None:
    found = parse_options(
        {
            "platform": "linux/arm64/v8,linux/amd64",
            "add-hosts": "Foo=1.2.3.4,bar=::ffff:5.6.7.8",
            "shm-size": "64",
            "ulimit": "nofile=1:2",
            "no-cache": "A,b",
            "cache-imports": '[{"Type":"registry","Attrs":{"ref":"x"}}]',
            "cache-from": "y,z",
            "local-sessionid:context": "other",
            "build-arg:BUILDKIT_SANDBOX_HOSTNAME": "h",
            "build-arg:X": "1",
            "label:L": "2",
            "force-network-mode": "none",
            "image-resolve-mode": "default",
            "attest:sbom": "generator=g,k=v",
        },
        session="s",
        build_platform=AMD64,
    )

    assert [p.architecture for p in found.target_platforms] == ["arm64", "amd64"]
    assert found.multi_platform
    assert found.extra_hosts == (HostIP(host="foo", ip="1.2.3.4"), HostIP(host="bar", ip="5.6.7.8"))
    assert (found.shm_size, found.ulimits) == (64, (Ulimit(name="nofile", soft=1, hard=2),))
    assert (found.ignores_cache("a"), found.ignores_cache("B"), found.ignores_cache("c")) == (True, True, False)
    assert [i.attrs["ref"] for i in found.cache_imports] == ["x", "y", "z"]
    assert found.cache_imports[0] == CacheImport(type="registry", attrs={"ref": "x"})
    assert (found.session_of("context"), found.hostname, found.labels) == ("other", "h", {"L": "2"})
    assert (found.network, found.resolve_mode) == (NetMode.NONE, "")
    assert found.sbom == {"generator": "g", "k": "v"}


def test_an_empty_no_cache_means_every_stage() -> None:
    assert options(no_cache="").ignores_cache("anything")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("platform", "*", 'failed to parse target platform *: "*": wildcards not yet supported: invalid argument'),
        ("platform", "a/b/c/d", 'failed to parse target platform a/b/c/d: "a/b/c/d": cannot parse platform specifier: invalid argument'),
        ("multi-platform", "x", "invalid boolean value for multi-platform: x"),
        ("image-resolve-mode", "x", "invalid image-resolve-mode: x"),
        ("add-hosts", "x", "failed to parse additional hosts: invalid key-value pair x"),
        ("add-hosts", "x=y", "failed to parse additional hosts: failed to parse IP y"),
        ("shm-size", "x", 'failed to parse shm size: strconv.ParseInt: parsing "x": invalid syntax'),
        ("ulimit", "x", "failed to parse ulimit: invalid ulimit argument: x"),
        ("force-network-mode", "x", "invalid netmode x"),
        ("build-arg:BUILDKIT_DOCKERFILE_CHECK", "x", 'failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid check option "x"'),
        ("attest:foo", "", 'unknown attestation type "foo"'),
        ("memory", "0", "failed to parse resource limits: invalid memory value: 0: must be > 0"),
    ],
)
def test_bad_values_are_named(key: str, value: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_options({key: value}, session="s", build_platform=AMD64)

    assert caught.value.message == message


def test_cache_imports_that_are_no_list_of_objects_are_refused() -> None:
    for text in ("x", "[1]", '{"a":1}', '[{"Attrs":1}]'):
        with pytest.raises(DockerfileError, match="failed to unmarshal cache-imports"):
            options(cache_imports=text)


def test_several_platforms_can_not_be_one_result() -> None:
    with pytest.raises(DockerfileError, match="returning multiple target platforms is not allowed"):
        options(platform="linux/amd64,linux/arm64", multi_platform="false")


def test_ulimits_are_checked() -> None:
    assert parse_ulimit("core=5") == Ulimit(name="core", soft=5, hard=5)
    assert parse_ulimit("core=-1:-1").hard == -1
    for text in ("foo=1", "core=1:2:3", "core=2:1", "core=-1:5", "core=x"):
        with pytest.raises(DockerfileError):
            parse_ulimit(text)


def test_resources_are_checked() -> None:
    assert parse_resources({}) is None
    assert parse_resources({"memory": "5", "memswap": "-1", "cpusetcpus": "0-2, 4"}) == Resources(
        memory=5, memory_swap=-1, cpuset_cpus="0-2, 4"
    )
    for key, value in (
        ("memswap", "0"),
        ("cpushares", "x"),
        ("cpuperiod", "0"),
        ("cpuquota", "-1"),
        ("cpusetcpus", "3-1"),
        ("cpusetmems", "9999"),
        ("cpusetmems", "x"),
    ):
        with pytest.raises(DockerfileError):
            parse_resources({key: value})
