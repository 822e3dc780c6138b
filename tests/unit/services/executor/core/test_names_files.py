"""hosts and resolv.conf."""

import pytest

from services.executor.core.names_files import Dns, hosts_text, only_systemd_resolved, resolv_conf_text
from shared.errors import InvalidInput
from shared.llb import HostIP

HOST = "# c\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch a.b c\noptions ndots:2\nsortlist 1.2.3.4\n"


def test_hosts() -> None:
    assert hosts_text("box") == "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    assert hosts_text("box", [HostIP(host="h", ip="fe80::1")]).endswith("fe80::1\th\n")
    for bad in (HostIP(host="h", ip="1.2.3"), HostIP(host="h\nx", ip="1.2.3.4")):
        with pytest.raises(InvalidInput):
            hosts_text("box", [bad])


def test_loopback_servers_are_dropped_unless_the_network_is_the_hosts() -> None:
    assert resolv_conf_text(HOST, Dns(), host_network=False) == "nameserver 10.0.0.2\nsearch a.b c\noptions ndots:2\nsortlist 1.2.3.4\n"
    assert resolv_conf_text(HOST, Dns(), host_network=True).startswith("nameserver 127.0.0.1\nnameserver 10.0.0.2\n")


@pytest.mark.parametrize("source", ["", "nameserver ::1\n", "nameserver nonsense\n"])
def test_public_servers_when_none_is_left(source: str) -> None:
    text = resolv_conf_text(source, Dns(), host_network=False)

    assert text == "".join(f"nameserver {a}\n" for a in ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"))


def test_configuration_overrides_each_list_by_itself() -> None:
    text = resolv_conf_text(HOST, Dns(nameservers=("127.0.0.9",), options=("edns0",)), host_network=False)

    assert text == "nameserver 127.0.0.9\nsearch a.b c\noptions edns0\nsortlist 1.2.3.4\n"
    with pytest.raises(InvalidInput, match="bad nameserver address"):
        resolv_conf_text(HOST, Dns(nameservers=("x",)), host_network=False)


def test_systemd_resolved() -> None:
    assert only_systemd_resolved("nameserver 127.0.0.53\n") and not only_systemd_resolved(HOST) and not only_systemd_resolved("")
