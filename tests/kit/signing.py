"""Signatures made by the programs that people use: gpg and ssh-keygen."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


@dataclass(frozen=True, slots=True, kw_only=True)
class GnuPG:
    """A home folder of its own. Keys have no passphrase."""

    home: Path

    def run(self, *args: str, data: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--pinentry-mode=loopback", "--passphrase=", *args]
        done = subprocess.run(argv, input=data, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name: str, algorithm: str = "ed25519", expire: str = "never", *, made: str = "") -> bytes:
        """A new key, armored; `made` as in --faked-system-time."""
        self.run(*_at(made), "--quick-gen-key", f"{name} <{name}@example.org>", algorithm, "sign,cert", expire)
        return self.public(name)

    def public(self, name: str) -> bytes:
        return self.run("--armor", "--export", f"<{name}@example.org>")

    def sign(self, name: str, data: bytes, *extra: str, made: str = "") -> bytes:
        """A detached signature, armored."""
        return self.run(*_at(made), *extra, "--local-user", f"<{name}@example.org>", "--armor", "--detach-sign", data=data)

    def fingerprint(self, name: str) -> str:
        listed = self.run("--with-colons", "--list-keys", f"<{name}@example.org>").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def _at(made: str) -> list[str]:
    return [f"--faked-system-time={made}!"] if made else []


@contextmanager
def gnupg() -> Iterator[GnuPG]:
    """Its agent ends with it. The folder's name is short: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        Path(home).chmod(0o700)
        try:
            yield GnuPG(home=Path(home))
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """A file with a private key; the public one lies beside it."""

    file: Path

    @property
    def public(self) -> bytes:
        return self.file.with_suffix(".pub").read_bytes()

    def sign(self, data: bytes, namespace: str = "git", *extra: str) -> str:
        """Armored."""
        argv = ["ssh-keygen", "-Y", "sign", "-f", str(self.file), "-n", namespace, *extra]
        done = subprocess.run(argv, input=data, capture_output=True, timeout=60, check=True)
        return done.stdout.decode()


def ssh_key(folder: Path, kind: str = "ed25519", *args: str) -> SshKey:
    file = folder / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *args, "-N", "", "-f", str(file)], capture_output=True, timeout=60, check=True)
    return SshKey(file=file)
