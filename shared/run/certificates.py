"""The fleet's own certificates: a folder with ca.pem, cert.pem and key.pem for each service, as `buildmesh certs` writes it.

Servers are known by what they are (`nats.buildmesh`) and not by where they run: an orchestrator may move them, and no certificate has to
be made anew. Whoever has a certificate of this CA is a part of the fleet; clients of the gateway have another CA (docs/adr/0041).
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import InvalidInput
from shared.rpc import TlsFiles

DOMAIN: Final = "buildmesh"


def role_name(role: str) -> str:
    """The name in the certificate of a server: `nats` → `nats.buildmesh`."""
    return f"{role}.{DOMAIN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """One service's folder."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server(self) -> TlsFiles:
        """For a server that only parts of the fleet may reach."""
        return TlsFiles(cert=str(self.folder / "cert.pem"), key=str(self.folder / "key.pem"), ca=str(self.ca))

    def client(self) -> ssl.SSLContext:
        """For connections to parts of the fleet, ours shown. Raises InvalidInput naming the folder."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(self.ca)
            context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        except OSError as error:
            raise InvalidInput(f"certificates in {self.folder}: {error}") from None
        return context

    def client_of_grpc(self) -> ssl.SSLContext:
        """The same, offering HTTP/2."""
        context = self.client()
        context.set_alpn_protocols(["h2"])
        return context
