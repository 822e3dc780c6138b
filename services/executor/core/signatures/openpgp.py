"""Detached OpenPGP signatures and the keys that may have made them (util/pgpsign, go-crypto's CheckDetachedSignature)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.executor.core.signatures.openpgp_packets import (
    PUBLIC_KEY,
    SECRET_KEY,
    SECRET_SUBKEY,
    SIGNATURE,
    SUBKEY,
    USER,
    PublicKey,
    Signature,
    dearmored,
    packets,
    parse_key,
    parse_signature,
)
from services.executor.core.signatures.public_key import signs
from shared.errors import BuildFailed

_BINARY, _CERTIFICATIONS, _DIRECT, _BINDING, _BACK = 0x00, range(0x10, 0x14), 0x1F, 0x18, 0x19
_REVOKED, _SUBKEY_REVOKED = 0x20, 0x28
_MAY_SIGN = 0x02
_STRONG = ("sha256", "sha384", "sha512")
_FUTURE = 300  # seconds that clocks may differ
MOST_WORDS = 2000  # signatures of keys about themselves that are looked at; each costs up to some milliseconds


@dataclass(slots=True, kw_only=True)
class Subkey:
    """`binding`: the newest valid one."""

    key: PublicKey
    binding: Signature | None = None
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class Entity:
    """A primary key with what it says of itself: the newest valid self-signature counts."""

    key: PublicKey
    about: Signature | None = None
    revoked: str | None = None
    subkeys: list[Subkey] = field(default_factory=list)


class DetachedSignature:
    """A signature over data that comes in pieces: `update` with all of it, then `check`."""

    def __init__(self, armored: bytes) -> None:
        """Raises BuildFailed for what is none, and for weak ones."""
        blocks = dearmored(armored)
        if not blocks:
            raise BuildFailed("failed to decode armored signature")
        bodies = [body for tag, body in packets(blocks[0][1]) if tag == SIGNATURE]
        if not bodies:
            raise BuildFailed("no signature packet found")
        self.signature = parse_signature(bodies[0])
        if self.signature.hash not in _STRONG:
            raise BuildFailed(f"rejecting weak/unknown hash: {self.signature.hash}")
        if self.signature.kind != _BINARY:
            raise BuildFailed(f"OpenPGP signatures of type {self.signature.kind:#x} are not supported")
        self._hasher = hashlib.new(self.signature.hash)

    def update(self, data: bytes) -> None:
        self._hasher.update(data)

    def check(self, entities: Sequence[Entity], *, now: int, reject_expired: bool = False) -> None:
        """Raises BuildFailed unless one of the keys made it and may sign. `now` in seconds since the epoch.

        Unless expired keys are to be rejected, a key has to have been valid when it signed.
        """
        signature = self.signature
        hasher = self._hasher.copy()
        hasher.update(signature.trailer)
        by = f"signature by {signature.issuer.hex().upper().lstrip('0')}: "
        moment = now if reject_expired else signature.created
        failure = f"{by}openpgp: signature made by unknown entity"
        for entity, key, subkey in _keys_of(entities, signature.issuer):
            if not signs(key, signature, hasher.digest()):
                failure = f"{by}openpgp: invalid signature"
                continue
            _check_usable(entity, subkey, moment, by)
            if signature.lifetime and signature.created + signature.lifetime <= moment:
                raise BuildFailed(f"{by}openpgp: signature expired")
            if signature.created > now + _FUTURE:
                raise BuildFailed("signature creation time is in the future")
            return
        raise BuildFailed(failure)


def _keys_of(entities: Sequence[Entity], issuer: bytes) -> Iterator[tuple[Entity, PublicKey, Subkey | None]]:
    for entity in entities:
        if entity.key.id == issuer:
            yield entity, entity.key, None
        for subkey in entity.subkeys:
            if subkey.key.id == issuer:
                yield entity, subkey.key, subkey


def _check_usable(entity: Entity, subkey: Subkey | None, moment: int, by: str) -> None:
    if entity.revoked is not None:
        raise BuildFailed(f"{by}key revoked: {entity.revoked}" if entity.revoked else f"{by}key revoked")
    if entity.about is None:
        raise BuildFailed(f"{by}openpgp: the key has no valid self-signature")
    if _expired(entity.key, entity.about, moment):
        raise BuildFailed(f"{by}openpgp: key expired")
    if subkey is None:
        if entity.about.flags is not None and not entity.about.flags & _MAY_SIGN:
            raise BuildFailed(f"{by}openpgp: the key may not sign")
        return
    binding = subkey.binding
    if subkey.revoked or binding is None or not (binding.flags or 0) & _MAY_SIGN or not _signs_back(entity, subkey.key, binding):
        raise BuildFailed(f"{by}openpgp: the subkey may not sign")
    if _expired(subkey.key, binding, moment):
        raise BuildFailed(f"{by}openpgp: key expired")


def _expired(key: PublicKey, about: Signature, moment: int) -> bool:
    """Not yet made or no longer valid, or what is said about it no longer is."""
    ended = about.key_lifetime and key.created + about.key_lifetime <= moment
    return moment < key.created or bool(ended) or bool(about.lifetime and about.created + about.lifetime <= moment)


def _signs_back(entity: Entity, subkey: PublicKey, binding: Signature) -> bool:
    """A signing subkey has to say itself that it belongs to the primary key, else anybody could adopt it."""
    try:
        back = parse_signature(binding.embedded)
    except BuildFailed:
        return False
    return back.kind == _BACK and _holds(subkey, back, entity.key.hashed + subkey.hashed)


def _holds(key: PublicKey, signature: Signature, data: bytes) -> bool:
    """A word of a key about itself or its subkeys; keys that are too short have none."""
    try:
        return signs(key, signature, hashlib.new(signature.hash, data + signature.trailer, usedforsecurity=False).digest())
    except BuildFailed:
        return False


def read_keys(armored: bytes) -> list[Entity]:
    """All keys of one or more armored blocks. Raises BuildFailed, also for a block without a key: that may be a revocation."""
    found: list[Entity] = []
    ring = _Ring()
    for kind, data in dearmored(armored):
        if kind not in ("PGP PUBLIC KEY BLOCK", "PGP PRIVATE KEY BLOCK"):
            raise BuildFailed(f"expected public or private key block, got: {kind}")
        here = ring.read(data)
        if not here:
            raise BuildFailed("failed to read armored public key: a block has no key that can be used")
        found += here
    if not found:
        raise BuildFailed("failed to read armored public key: no armored data found")
    return found


class _Ring:
    """Reads key rings, one by one: packets belong to the key, user or subkey before them."""

    def __init__(self) -> None:
        self._words = 0

    def read(self, data: bytes) -> list[Entity]:
        self._entities: list[Entity] = []
        self._subkey: Subkey | None = None
        self._user: bytes | None = None
        self._skipping = True
        for tag, body in packets(data):
            match tag:
                case _ if tag in (PUBLIC_KEY, SECRET_KEY):
                    key = parse_key(body)
                    self._subkey, self._user, self._skipping = None, None, key is None
                    if key is not None:
                        self._entities.append(Entity(key=key))
                case _ if self._skipping:
                    continue
                case _ if tag in (SUBKEY, SECRET_SUBKEY):
                    self._add_subkey(parse_key(body))
                case _ if tag == SIGNATURE:
                    self._add_signature(body)
                case _:
                    self._subkey, self._user = None, body if tag == USER else None
        return self._entities

    def _add_subkey(self, key: PublicKey | None) -> None:
        self._user = None
        self._subkey = Subkey(key=key) if key is not None else None
        if self._subkey is not None:
            self._entities[-1].subkeys.append(self._subkey)

    def _add_signature(self, body: bytes) -> None:
        entity = self._entities[-1]
        try:
            signature = parse_signature(body)
        except BuildFailed:
            return  # by others, or of a kind that says nothing here
        if signature.kind == _REVOKED:  # wherever it stands
            if self._holds(entity.key, signature, entity.key.hashed):
                entity.revoked = signature.reason
        elif self._subkey is not None:
            self._about_subkey(entity, self._subkey, signature)
        elif signature.kind == _DIRECT and self._holds(entity.key, signature, entity.key.hashed):
            entity.about = _newer(entity.about, signature)
        elif signature.kind in _CERTIFICATIONS and self._user is not None and signature.issuer == entity.key.id:
            data = entity.key.hashed + b"\xb4" + len(self._user).to_bytes(4, "big") + self._user
            if self._holds(entity.key, signature, data):
                entity.about = _newer(entity.about, signature)

    def _about_subkey(self, entity: Entity, subkey: Subkey, signature: Signature) -> None:
        if not self._holds(entity.key, signature, entity.key.hashed + subkey.key.hashed):
            return
        if signature.kind == _SUBKEY_REVOKED:
            subkey.revoked = True
        elif signature.kind == _BINDING:
            subkey.binding = _newer(subkey.binding, signature)

    def _holds(self, key: PublicKey, signature: Signature, data: bytes) -> bool:
        """Raises BuildFailed when there are too many to look at."""
        self._words += 1
        if self._words > MOST_WORDS:
            raise BuildFailed(f"failed to read armored public key: its keys say more than {MOST_WORDS} things of themselves")
        return _holds(key, signature, data)


def _newer(one: Signature | None, other: Signature) -> Signature:
    return other if one is None or other.created >= one.created else one
