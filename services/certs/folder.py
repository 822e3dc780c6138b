"""The folder that `buildmesh certs` fills: what there is in it, and in which form each part of the fleet wants it.

Besides certificates: rights on the bus (nats/users.conf), a key of the blob store for each service (<service>/aws) and MinIO's own
(minio/aws).
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from services.certs.authority import Authority, Pair, names_of, new_authority, open_authority
from shared.blobs.credentials import FILE, credentials
from shared.bus.nats_rights import users_conf
from shared.run.certificates import role_name
from shared.wire.roles import ROLES

__all__ = ["Folder", "aws_file"]

SERVERS: Final = ("nats", "minio")
AUTHORITY_DAYS: Final = 3650
NOMAD_PUT: Final = """#!/bin/sh
# Puts certificates and rights into Nomad's variables, each where only its job reads it (deploy/nomad/README.md).
set -eu
cd "$(dirname "$0")/.."
"""


def aws_file(key: str, secret: str) -> bytes:
    """Where AWS's own programs look for keys, too."""
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n".encode()


def _secret() -> str:
    return secrets.token_urlsafe(24)


def _kept(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """`path` is made. What exists stays, unless `renew`; authorities, the gateway's names and the blob store's keys always stay."""

    path: Path
    now: datetime
    days: int
    renew: bool = False

    def fill(self, *, public_names: Sequence[str], clients: Sequence[str]) -> list[str]:
        """Everything; returns what was written, relative to the folder."""
        mesh, outer = self._authority("mesh-authority"), self._authority("clients-authority")
        written = []
        for role in (*ROLES, *SERVERS):
            written += self._issue(mesh, role, role, [role_name(role)])
        has = self._names("gateway/public")
        names = [*dict.fromkeys((*public_names, *has))]
        written += self._issue(outer, "gateway/public", "gateway", names, anew=len(names) > len(has))
        for client in clients:
            written += self._issue(outer, f"clients/{client}", client, [])
        for role in ROLES:
            written += self._key(role)
        self._for_nats()
        self._for_minio()
        self._for_nomad()
        return written

    def _authority(self, name: str) -> Authority:
        certificate, key = self.path / f"{name}.pem", self.path / f"{name}-key.pem"
        if certificate.exists():
            return open_authority(Pair(certificate=certificate.read_bytes(), key=key.read_bytes()))
        made = new_authority(f"Buildmesh {name.replace('-', ' ')}", now=self.now, days=AUTHORITY_DAYS)
        self._write(key, made.pair.key, 0o600)
        self._write(certificate, made.pair.certificate)
        return made

    def _names(self, place: str) -> list[str]:
        certificate = self.path / place / "cert.pem"
        return names_of(certificate.read_bytes()) if certificate.exists() else []

    def _issue(self, authority: Authority, place: str, common_name: str, names: Sequence[str], *, anew: bool = False) -> list[str]:
        """ca.pem, cert.pem and key.pem: the names that buildctl's --tlsdir looks for."""
        folder = self.path / place
        if (folder / "cert.pem").exists() and not self.renew and not anew:
            return []
        pair = authority.sign(common_name, names, now=self.now, days=self.days)
        self._write(folder / "key.pem", pair.key, 0o600)
        self._write(folder / "cert.pem", pair.certificate)
        self._write(folder / "ca.pem", authority.pair.certificate)
        return [place]

    def _key(self, role: str) -> list[str]:
        """Of the blob store. One that is there stays, perhaps of another S3; but earlier versions gave everybody MinIO's own."""
        place, root = self.path / role / "aws", self.path / "minio/aws"
        if not root.exists():
            user, password = (_kept(self.path / "minio" / name) for name in ("user", "password"))
            self._write(root, aws_file(user or "buildmesh", password or _secret()), 0o600)
        own = credentials({FILE: str(place)}) if place.exists() else None
        made = own is None or own == credentials({FILE: str(root)})
        if made:
            self._write(place, aws_file(role, _secret()), 0o600)
        self._write(self.path / "minio/users" / role, place.read_bytes(), 0o600)
        return [f"{role}/aws"] if made else []

    def _for_nats(self) -> None:
        accounts = {name: {"user": role_name(name)} for name in ROLES}
        self._write(self.path / "nats/users.conf", users_conf(accounts).encode())

    def _for_minio(self) -> None:
        """As its --certs-dir and MINIO_ROOT_USER_FILE want them."""
        for name, value in zip(("user", "password"), credentials({FILE: str(self.path / "minio/aws")}), strict=True):
            self._write(self.path / "minio" / name, value.encode(), 0o600)
        for ours, its, mode in (("cert.pem", "public.crt", 0o644), ("key.pem", "private.key", 0o600)):
            self._write(self.path / "minio" / its, (self.path / "minio" / ours).read_bytes(), mode)

    def _for_nomad(self) -> None:
        own = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        lines = []
        for role in (*ROLES, *SERVERS):
            files = {key: f"{role}/{file}" for key, file in own.items()}
            if role == "gateway":
                files |= {f"public_{key}": f"gateway/public/{file}" for key, file in own.items()}
            if role == "nats":
                files["users"] = "nats/users.conf"
            files |= {"aws": f"{role}/aws"} if role != "nats" else {}
            if role == "minio":
                files |= {name: f"minio/{name}" for name in ("user", "password")}
                files |= {f"aws_{name}": f"minio/users/{name}" for name in ROLES}
            pairs = " ".join(f"{key}=@{file}" for key, file in files.items())
            lines.append(f"nomad var put -force -out none nomad/jobs/buildmesh-{role} {pairs}\n")
        self._write(self.path / "nomad/put", (NOMAD_PUT + "".join(lines)).encode(), 0o755)

    def _write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Whole or not at all; a key is never readable for others, not even for a moment."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        fresh.chmod(mode)
        fresh.rename(path)
