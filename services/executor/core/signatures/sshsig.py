"""SSH signatures, as `ssh-keygen -Y sign` and git make them (openssh PROTOCOL.sshsig)."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared.errors import BuildFailed

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_HASHES = ("sha256", "sha512")
_ECDSA = {"ecdsa-sha2-nistp256": "SHA256", "ecdsa-sha2-nistp384": "SHA384", "ecdsa-sha2-nistp521": "SHA512"}
_RSA = {"rsa-sha2-256": "SHA256", "rsa-sha2-512": "SHA512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSignature:
    """`key` = the public key as a wire string, `blob` = algorithm and signature."""

    key: bytes
    namespace: str
    hash: str
    algorithm: str
    blob: bytes


def parse_ssh_signature(text: str) -> SshSignature:
    """From its armor. Raises BuildFailed."""
    body = text.strip()
    if not (body.startswith(BEGIN) and body.endswith(END)):
        raise BuildFailed("failed to decode ssh signature PEM block")
    try:
        data = base64.b64decode("".join(body[len(BEGIN) : -len(END)].split()), validate=True)
    except binascii.Error:
        raise BuildFailed("failed to decode ssh signature PEM block") from None
    if not data.startswith(_MAGIC):
        raise BuildFailed("failed to parse ssh signature: wrong preamble")
    version = int.from_bytes(data[6:10], "big")
    if version != 1:
        raise BuildFailed(f"unsupported SSH signature version: {version}")
    key, namespace, _, hash, signed = _strings(data[10:], 5)
    algorithm, blob = _strings(signed, 2)
    return SshSignature(key=key, namespace=_text(namespace), hash=_text(hash), algorithm=_text(algorithm), blob=blob)


def check_ssh_signature(signature: SshSignature, data: bytes, authorized_key: bytes, *, namespace: str) -> None:
    """`authorized_key`: a line of authorized_keys. Raises BuildFailed unless that key signed this data for this purpose."""
    if signature.hash not in _HASHES:
        raise BuildFailed(f"unsupported SSH signature hash algorithm: {signature.hash[:40]}")
    if signature.namespace != namespace:
        raise BuildFailed(f'unexpected SSH signature namespace: "{signature.namespace[:40]}"')
    key, wire = _public_key(authorized_key)
    if wire != signature.key:
        raise BuildFailed("failed to verify ssh signature: it was made by another key")
    hashed = hashlib.new(signature.hash, data).digest()
    signed = _MAGIC + b"".join(map(_string, (namespace.encode(), b"", signature.hash.encode(), hashed)))
    if not _verified(key, signature, signed):
        raise BuildFailed("failed to verify ssh signature")


def _public_key(line: bytes) -> tuple[Any, bytes]:
    """The key and its wire string; options before it are skipped."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    for text in line.splitlines():
        found = None if text.lstrip().startswith(b"#") else _first_key(text.split())
        if found is None:
            continue
        kind, value, wire = found
        try:
            return load_ssh_public_key(kind + b" " + value), wire
        except (ValueError, UnsupportedAlgorithm):
            continue
    raise BuildFailed("failed to parse ssh public key: no key found")


def _first_key(words: list[bytes]) -> tuple[bytes, bytes, bytes] | None:
    """Its kind, itself in base64, and its bytes. What follows it is a comment."""
    for kind, value in pairwise(words):
        try:
            wire = base64.b64decode(value, validate=True)
        except ValueError:
            continue
        if wire.startswith(_string(kind)):
            return kind, value, wire
    return None


def _verified(key: Any, signature: SshSignature, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        match key:
            case ed25519.Ed25519PublicKey() if signature.algorithm == "ssh-ed25519":
                key.verify(signature.blob, signed)
            case rsa.RSAPublicKey() if signature.algorithm in _RSA and key.key_size >= 2048:
                key.verify(signature.blob, signed, padding.PKCS1v15(), getattr(hashes, _RSA[signature.algorithm])())
            case ec.EllipticCurvePublicKey() if signature.algorithm in _ECDSA:
                key.verify(_dss(signature.blob), signed, ec.ECDSA(getattr(hashes, _ECDSA[signature.algorithm])()))
            case _:
                return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _dss(blob: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    r, s = _strings(blob, 2)
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _strings(data: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise BuildFailed("failed to parse ssh signature: it is too short")
        found.append(data[at + 4 : end])
        at = end
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
