"""Flags and file of buildkitd → what the six services get."""

from pathlib import Path
from typing import Any

import pytest

from services.all_in_one import AllConfig, load
from services.daemon.flags import parse_flags
from services.daemon.plan import defaults, make_plan
from services.daemon.toml_file import read_file
from services.executor.config import CdiSettings
from shared.errors import InvalidInput
from shared.registry.hosts import HostConfig
from shared.telemetry import LogFormat


def planned(tmp_path: Path, file: str = "", *argv: str, environment: dict[str, str] | None = None) -> AllConfig:
    path = tmp_path / "buildkitd.toml"
    path.write_text(file)
    given = environment or {}
    return make_plan(parse_flags(["--config", str(path), "--root", str(tmp_path / "root"), *argv], given), given, rootless=False)


def test_nothing_said(tmp_path: Path) -> None:
    config = planned(tmp_path)

    assert config.gateway.addresses == ("unix:///run/buildkit/buildkitd.sock",)
    assert config.gateway.entitlements == ("device",)
    assert config.executor.cdi == CdiSettings(folders=("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"))
    assert (config.gateway.history_max_entries, config.gateway.history_max_age) == (50, 48 * 3600)
    assert config.mesh.state == tmp_path / "root"
    assert config.executor.state == tmp_path / "root/executor"
    assert len(config.executor.gc_policy) == 4
    assert config.mesh.log_level == "info"


def test_devices(tmp_path: Path) -> None:
    """Folders by flag before those of the file; none when devices are off."""
    file = '[cdi]\nspecDirs = ["/a"]\nautoAllowed = ["example.org/x"]\n'

    assert planned(tmp_path, file).executor.cdi == CdiSettings(folders=("/a",), auto_allowed=("example.org/x",))
    assert planned(tmp_path, file, "--cdi-spec-dir=/b").executor.cdi.folders == ("/b",)
    off = planned(tmp_path, file, "--cdi-disabled")
    assert (off.executor.cdi.folders, off.gateway.entitlements) == ((), ())


def test_what_steps_would_not_be_kept_from_is_refused(tmp_path: Path) -> None:
    for file, argv in (("proxyNetwork = true\n", ()), ("", ("--proxy-network",))):
        with pytest.raises(InvalidInput, match="proxy network is not supported"):
            planned(tmp_path, file, *argv)


def test_a_file_that_is_not_there_is_an_empty_one(tmp_path: Path) -> None:
    assert read_file(tmp_path / "none.toml").root == ""


FILE = """
root = "/from/file"
debug = true
insecure-entitlements = ["network.host"]
[log]
  format = "json"
[grpc]
  address = ["tcp://127.0.0.1:1", "unix:///x"]
  debugAddress = "127.0.0.1:6060"
  gid = 5
  [grpc.tls]
    cert = "c"
    key = "k"
    ca = "a"
[otel]
  socketPath = "/o"
[cdi]
  disabled = true
[dns]
  nameservers = ["1.1.1.1"]
  searchDomains = ["example.com"]
[history]
  maxAge = 172800
[worker.oci]
  enabled = true
  platforms = ["linux/arm64"]
  snapshotter = "native"
  max-parallelism = 3
  apparmor-profile = ""
  gc = true
  networkMode = "host"
  binary = "crun"
  defaultCgroupParent = "parent"
  [worker.oci.labels]
    "a" = "b"
  [[worker.oci.gcpolicy]]
    keepBytes = "1GB"
    keepDuration = "1h"
    filters = ["type==regular"]
  [[worker.oci.gcpolicy]]
    all = true
    maxUsedSpace = 5
[worker.containerd]
  enabled = false
  namespace = "x"
[registry."docker.io"]
  mirrors = ["mirror.local:5000/hub"]
  http = true
  ca = ["/ca"]
  [[registry."docker.io".keypair]]
    key = "/k"
    cert = "/c"
[frontend."dockerfile.v0"]
  enabled = true
[frontend."gateway.v0"]
  allowedRepositories = ["docker/dockerfile"]
[system]
  platformsCacheMaxAge = "1m"
"""


def test_every_part_of_the_file_arrives(tmp_path: Path) -> None:
    config = planned(tmp_path, FILE)
    gateway, executor = config.gateway, config.executor

    assert gateway.addresses == ("tcp://127.0.0.1:1", "unix:///x")
    assert (gateway.tls_cert, gateway.tls_key, gateway.tls_ca, gateway.group) == ("c", "k", "a", "5")
    assert (gateway.history_max_entries, gateway.history_max_age) == (0, 172800)
    assert gateway.entitlements == config.solver.entitlements == ("network.host",)
    assert (config.mesh.http, config.mesh.log_level, config.mesh.log_format) == ("tcp://127.0.0.1:6060", "debug", LogFormat.JSON)
    assert [p.architecture for p in executor.platforms] == ["arm64"]
    assert (executor.snapshotter, executor.max_parallelism, executor.runtime, executor.cgroup_parent) == ("native", 3, "crun", "parent")
    assert executor.labels == (("a", "b"),)
    assert (executor.network.mode, executor.network.nameservers, executor.network.search_domains) == (
        "host",
        ("1.1.1.1",),
        ("example.com",),
    )
    assert [(r.reserved_space, r.keep_duration, r.all, r.max_used_space) for r in executor.gc_policy] == [
        (1 << 30, 3600 * 10**9, False, 0),
        (0, 0, True, 5),
    ]
    assert executor.registries.configs["docker.io"] == HostConfig(
        mirrors=("mirror.local:5000/hub",), http=True, ca=("/ca",), keypairs=(("/k", "/c"),)
    )


def test_flags_win_and_replace_lists(tmp_path: Path) -> None:
    config = planned(
        tmp_path,
        FILE,
        "--addr=unix:///flag",
        "--allow-insecure-entitlement",
        "security.insecure",
        "-oci-worker-gc=false",
        "--oci-worker-labels=x=y",
        "--group",
        "docker",
        "--log-level",
        "warn",
        environment={"BUILDKITD_DEBUGADDR": "unix:///dbg", "BUILDKIT_DEBUG_EXEC_OUTPUT": "1"},
    )

    assert config.gateway.addresses == ("unix:///flag",)
    assert config.gateway.entitlements == ("security.insecure",)
    assert config.gateway.group == "docker"
    assert config.executor.gc_policy == ()
    assert dict(config.executor.labels) == {"a": "b", "x": "y"}
    assert config.executor.debug_output
    assert (config.mesh.http, config.mesh.log_level) == ("unix:///dbg", "warn")


@pytest.mark.parametrize("argv", [["--debug"], ["-debug"], ["--debug=true"], ["--trace"]])
def test_go_spellings_of_debug(tmp_path: Path, argv: list[str]) -> None:
    assert planned(tmp_path, "", *argv).mesh.log_level == "debug"


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("[worker.oci]\nmaxparalelism = 1", "did you mean 'max-parallelism'"),
        ("[wroker.oci]", "unknown key 'wroker'"),
        ("[ghacache]", "unknown key 'ghacache'"),
        ('[frontend."dockerfile.v1"]', "unknown key 'frontend.dockerfile.v1'"),
        ("[[worker.oci.gcpolicy]]\nkeep = 1", r"unknown key 'worker.oci.gcpolicy\[0\].keep'"),
        ("root = 5", "'root' in the configuration: want str"),
        ("root =", "buildkitd.toml"),
        ('insecure-entitlements = ["all"]', "invalid entitlement : all"),
        ('[grpc]\naddress = ["/run/x"]', "address /run/x does not contain proto, you meant unix:///run/x ?"),
        ('[grpc.tls]\ncert = "c"', "you must specify key and cert file if one is specified"),
        ('[worker.oci]\nnetworkMode = "warp"', 'invalid network mode: "warp"'),
        ("[worker.oci]\nenabled = false", "no worker found, rebuild the buildkit daemon"),
        ('[log]\nformat = "xml"', "unsupported log type"),
        ('[history]\nmaxAge = "soon"', "invalid duration soon"),
    ],
)
def test_faults_are_named(tmp_path: Path, file: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        planned(tmp_path, file)


def test_an_unknown_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--oci-woker"):
        planned(tmp_path, "", "--oci-woker")


def test_the_version(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parse_flags(["--version"], {})

    assert capsys.readouterr().out.split()[0::2][0] == "buildkitd"


def test_rootless_paths() -> None:
    paths = defaults({"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1"}, rootless=True)

    assert paths.address == "unix:///run/user/1/buildkit/buildkitd.sock"
    assert paths.root == Path("/home/u/.local/share/buildkit")


def test_the_all_in_one_reads_a_table_per_service(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text('[mesh]\nlog_level = "debug"\n[gateway]\naddresses = ["unix:///a"]\n[cachestore]\ngc = false\n')

    config = load(path, state=tmp_path / "s", addresses=("unix:///b",))

    assert (config.gateway.addresses, config.mesh.log_level, config.cachestore.gc) == (("unix:///b",), "debug", False)
    assert len(config.executor.gc_policy) == 4
