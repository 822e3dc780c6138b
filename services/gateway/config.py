"""Settings of the gateway."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Addresses, who may do what, and how much is remembered."""

    addresses: tuple[str, ...] = ("unix:///run/buildmesh/buildmeshd.sock",)
    """Where clients connect: unix://, tcp://, fd://."""
    group: str = ""
    """Owner group of unix sockets: name or number; empty = the process's."""
    tls_cert: str = ""
    """PEM file; with it (and the key) tcp addresses speak TLS."""
    tls_key: str = ""
    tls_ca: str = ""
    """With it, clients must show a certificate that it has signed."""
    relay_address: str = ""
    """Where other services of the fleet reach the sessions held here (`tcp://host:port`); empty = all-in-one, nobody else needs them.
    `tcp://0.0.0.0:port`: on all addresses, told to others with this machine's name (in a container network that is an address)."""
    relay_told: str = ""
    """What others are told instead, where this process can't know it (a container behind a mapped port)."""
    entitlements: tuple[str, ...] = ()
    """What builds may be granted: security.insecure, network.host, device."""
    history_max_entries: int = 50
    """Records beyond the newest so many are forgotten once they are older than `history_max_age`."""
    history_max_age: float = 48 * 3600.0
    """Seconds."""
    version: str = "v0.32.2"
    """What Info tells; clients choose features by it (docs/adr/0005)."""
