"""OpenPGP as bytes: armor, packets, version 4 signatures and public keys (RFC 4880). What is malformed raises BuildFailed."""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import BuildFailed

SIGNATURE, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY, USER, SUBKEY, ATTRIBUTE = 2, 5, 6, 7, 13, 14, 17
RSA, RSA_SIGN, ECDSA, EDDSA = 1, 3, 19, 22
HASHES = {2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}
_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _FLAGS, _REASON, _EMBEDDED, _FINGERPRINT = 2, 3, 9, 16, 27, 29, 32, 33
_UNDERSTOOD = frozenset((2, 3, 4, 7, 9, 11, 16, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31, 32, 33))
_MOST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """`covered`: its own hashed part; lifetimes in seconds from `created`, 0 = for ever; `flags` None = none are told."""

    kind: int
    algorithm: int
    hash: str
    covered: bytes
    numbers: tuple[bytes, ...]
    created: int = 0
    lifetime: int = 0
    key_lifetime: int = 0
    issuer: bytes = b""
    flags: int | None = None
    reason: str = ""
    embedded: bytes = b""

    @property
    def trailer(self) -> bytes:
        """What is hashed behind the data."""
        return self.covered + b"\x04\xff" + len(self.covered).to_bytes(4, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """`numbers` as big-endian bytes: RSA n and e, or a curve's object identifier and a point."""

    body: bytes
    created: int
    algorithm: int
    numbers: tuple[bytes, ...]

    @property
    def hashed(self) -> bytes:
        """As it goes into signatures about it."""
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body

    @property
    def id(self) -> bytes:
        """The last eight bytes of its fingerprint."""
        return hashlib.sha1(self.hashed, usedforsecurity=False).digest()[-8:]


def dearmored(text: bytes) -> list[tuple[str, bytes]]:
    """Every armored block in it, as (kind, bytes): `PGP SIGNATURE`, `PGP PUBLIC KEY BLOCK`. Text around them is skipped."""
    if len(text) > _MOST:
        raise BuildFailed(f"armored data of {len(text)} bytes is larger than the allowed {_MOST}")
    found, lines = [], iter(text.decode("latin-1").splitlines())
    for line in lines:
        if line.startswith("-----BEGIN PGP ") and line.rstrip().endswith("-----"):
            kind = line.strip().removeprefix("-----BEGIN ").removesuffix("-----")
            found.append((kind, _block(lines, kind)))
    return found


def _block(lines: Iterator[str], kind: str) -> bytes:
    for line in lines:
        if not line.strip():
            break  # headers end
    digits = []
    for line in lines:
        if line.startswith("-----END"):
            break
        if not line.startswith("="):  # a checksum, which nobody needs here
            digits.append(line.strip())
    try:
        return base64.b64decode("".join(digits), validate=True)
    except binascii.Error as error:
        raise BuildFailed(f"{kind}: {error}") from None


class Reader:
    """Big-endian fields of a packet. Reading past the end raises BuildFailed."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise BuildFailed("an OpenPGP packet is too short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def integer(self) -> bytes:
        """A multiprecision integer."""
        return self.take((self.number(2) + 7) // 8)


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, body) of each."""
    reader = Reader(data)
    while reader:
        head = reader.number(1)
        if not head & 0x80:
            raise BuildFailed("invalid OpenPGP packet")
        if head & 0x40:
            yield head & 0x3F, reader.take(_length(reader, whole=True))
        elif head & 3 == 3:
            raise BuildFailed("OpenPGP packets without a length are not supported")
        else:
            yield head >> 2 & 0xF, reader.take(reader.number(1 << (head & 3)))


def _length(reader: Reader, *, whole: bool) -> int:
    first = reader.number(1)
    if first < 192:
        return first
    if first == 255:
        return reader.number(4)
    if whole and first >= 224:
        raise BuildFailed("partial OpenPGP packets are not supported")
    return (first - 192 << 8) + reader.number(1) + 192


def parse_signature(body: bytes) -> Signature:
    """Raises BuildFailed for other versions, algorithms and hashes, too."""
    reader = Reader(body)
    if (version := reader.number(1)) != 4:
        raise BuildFailed(f"OpenPGP signatures of version {version} are not supported")
    kind, algorithm, hashed_by = reader.number(1), reader.number(1), reader.number(1)
    hashed = _subpackets(reader.take(reader.number(2)))
    covered = body[: reader.at]
    loose = _subpackets(reader.take(reader.number(2)))
    reader.take(2)
    if hashed_by not in HASHES:
        raise BuildFailed(f"rejecting weak/unknown hash: {hashed_by}")
    if algorithm not in (RSA, RSA_SIGN, ECDSA, EDDSA):
        raise BuildFailed(f"rejecting unsupported pubkey algorithm: {algorithm}")
    count = 1 if algorithm in (RSA, RSA_SIGN) else 2
    return Signature(
        kind=kind,
        algorithm=algorithm,
        hash=HASHES[hashed_by],
        covered=covered,
        numbers=tuple([reader.integer() for _ in range(count)]),
        created=int.from_bytes(hashed.get(_CREATED, b""), "big"),
        lifetime=int.from_bytes(hashed.get(_EXPIRES, b""), "big"),
        key_lifetime=int.from_bytes(hashed.get(_KEY_EXPIRES, b""), "big"),
        issuer=_issuer({**loose, **hashed}),
        flags=hashed[_FLAGS][0] if hashed.get(_FLAGS) else None,
        reason=hashed.get(_REASON, b"")[1:].decode("utf-8", "replace"),
        embedded=hashed.get(_EMBEDDED, b"") or loose.get(_EMBEDDED, b""),
    )


def _issuer(told: dict[int, bytes]) -> bytes:
    """By fingerprint (of a version 4 key) or by id."""
    fingerprint = told.get(_FINGERPRINT, b"")
    return fingerprint[-8:] if len(fingerprint) == 21 and fingerprint[0] == 4 else told.get(_ISSUER, b"")


def _subpackets(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    reader = Reader(data)
    while reader:
        body = reader.take(_length(reader, whole=False))
        if not body:
            continue
        kind = body[0] & 0x7F
        if body[0] & 0x80 and kind not in _UNDERSTOOD:
            raise BuildFailed(f"OpenPGP subpacket {kind} is critical, and unknown here")
        found[kind] = body[1:]
    return found


def parse_key(body: bytes) -> PublicKey | None:
    """The public part of a key packet; None for a version or algorithm that verifies nothing here."""
    reader = Reader(body)
    version, created, algorithm = reader.number(1), reader.number(4), reader.number(1)
    if version != 4 or algorithm not in (RSA, RSA_SIGN, ECDSA, EDDSA):
        return None
    first = reader.integer() if algorithm in (RSA, RSA_SIGN) else reader.take(reader.number(1))
    numbers = (first, reader.integer())
    return PublicKey(body=body[: reader.at], created=created, algorithm=algorithm, numbers=numbers)
