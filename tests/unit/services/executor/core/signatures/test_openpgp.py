"""Signatures by gpg, and keys that may not sign."""

import base64
import time
from collections.abc import Iterator

import pytest

from services.executor.core.signatures.openpgp import MOST_WORDS, DetachedSignature, Entity, read_keys
from services.executor.core.signatures.openpgp_packets import dearmored
from shared.errors import BuildFailed
from tests.kit.signing import GnuPG, gnupg, needs_gpg

pytestmark = needs_gpg
DATA = b"what was signed\n"
NOW = int(time.time()) + 3600  # later than any key that the tests make, however long ago they were collected


@pytest.fixture(scope="module")
def pgp() -> Iterator[GnuPG]:
    with gnupg() as home:
        home.key("one")
        home.key("two", "rsa2048")
        home.key("curve", "nistp256")
        home.key("old", expire="2002-01-01", made="20010101T000000")
        yield home


def check(armored: bytes, keys: list[Entity], data: bytes = DATA, *, now: int = NOW, reject_expired: bool = False) -> None:
    signature = DetachedSignature(armored)
    for start in range(0, len(data), 5):
        signature.update(data[start : start + 5])
    signature.check(keys, now=now, reject_expired=reject_expired)


@pytest.mark.parametrize("name", ["one", "two", "curve"])
def test_the_one_who_signed_is_found_among_others(pgp: GnuPG, name: str) -> None:
    keys = read_keys(b"\n".join(pgp.public(each) for each in ("curve", "two", "one")))
    signature = pgp.sign(name, DATA)

    check(signature, keys)
    with pytest.raises(BuildFailed, match=r"signature by [0-9A-F]{15,16}: openpgp: invalid signature"):
        check(signature, keys, DATA + b"more")
    with pytest.raises(BuildFailed, match="signature made by unknown entity"):
        check(signature, read_keys(pgp.public("old")))


def test_weak_hashes_and_other_kinds_of_signatures_are_refused(pgp: GnuPG) -> None:
    with pytest.raises(BuildFailed, match="weak/unknown hash: sha1"):
        DetachedSignature(pgp.sign("two", DATA, "--digest-algo=SHA1"))
    with pytest.raises(BuildFailed, match="type 0x1 are not supported"):
        DetachedSignature(pgp.sign("two", DATA, "--textmode"))
    with pytest.raises(BuildFailed, match="type 0x13 are not supported"):
        DetachedSignature(pgp.public("one"))
    with pytest.raises(BuildFailed, match="failed to decode armored signature"):
        DetachedSignature(b"text")


def test_keys_may_have_expired_since_unless_that_is_refused(pgp: GnuPG) -> None:
    keys = read_keys(pgp.public("old"))
    signature = pgp.sign("old", DATA, made="20010601T000000")

    check(signature, keys)
    with pytest.raises(BuildFailed, match="key expired"):
        check(signature, keys, reject_expired=True)


def test_signatures_end_and_do_not_come_from_the_future(pgp: GnuPG) -> None:
    keys = read_keys(pgp.public("one"))
    brief = pgp.sign("one", DATA, "--default-sig-expire=1d")

    check(brief, keys, reject_expired=True)
    with pytest.raises(BuildFailed, match="signature expired"):
        check(brief, keys, now=NOW + 2 * 86400, reject_expired=True)
    with pytest.raises(BuildFailed, match="in the future"):
        check(pgp.sign("one", DATA), keys, now=NOW - 86400)


def test_short_keys_are_refused(pgp: GnuPG) -> None:
    keys = read_keys(pgp.key("short", "rsa1024"))

    with pytest.raises(BuildFailed, match="RSA key too short: 1024 bits"):
        check(pgp.sign("short", DATA), keys)


def test_signing_subkeys(pgp: GnuPG) -> None:
    """gpg signs by the newest; one that is revoked no longer may."""
    pgp.key("primary")
    pgp.run("--quick-add-key", pgp.fingerprint("primary"), "ed25519", "sign", "never")
    signature = pgp.sign("primary", DATA)
    public = pgp.public("primary")

    (entity,) = read_keys(public)
    assert DetachedSignature(signature).signature.issuer == entity.subkeys[0].key.id
    check(signature, [entity])
    entity.subkeys[0].revoked = True
    with pytest.raises(BuildFailed, match="the subkey may not sign"):
        check(signature, [entity])


def test_a_subkey_that_another_key_has_adopted_does_not_sign_for_it(pgp: GnuPG) -> None:
    """Its binding is looked at from both sides."""
    pgp.key("owner")
    pgp.run("--quick-add-key", pgp.fingerprint("owner"), "ed25519", "sign", "never")
    signature = pgp.sign("owner", DATA)
    (owner,) = read_keys(pgp.public("owner"))
    (thief,) = read_keys(pgp.public("one"))
    thief.subkeys += owner.subkeys

    with pytest.raises(BuildFailed, match="the subkey may not sign"):
        check(signature, [thief])


def test_encryption_subkeys_do_not_sign(pgp: GnuPG) -> None:
    pgp.key("mixed")
    pgp.run("--quick-add-key", pgp.fingerprint("mixed"), "rsa2048", "encr", "never")
    (entity,) = read_keys(pgp.public("mixed"))

    check(pgp.sign("mixed", DATA), [entity])
    binding = entity.subkeys[0].binding
    assert binding is not None
    assert not (binding.flags or 0) & 2


def test_revoked_keys(pgp: GnuPG) -> None:
    pgp.key("gone")
    signature = pgp.sign("gone", DATA)
    fingerprint = pgp.fingerprint("gone")
    revocation = (pgp.home / f"openpgp-revocs.d/{fingerprint}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    pgp.run("--import", data=revocation.encode())

    with pytest.raises(BuildFailed, match="key revoked"):
        check(signature, read_keys(pgp.public("gone")))


def test_a_revocation_is_not_passed_over_wherever_it_stands(pgp: GnuPG) -> None:
    """Behind the subkeys it counts; a block of its own says of no key what it revokes, so the whole is refused."""
    pgp.key("apart")
    pgp.run("--quick-add-key", pgp.fingerprint("apart"), "ed25519", "sign", "never")
    signature, public = pgp.sign("apart", DATA), pgp.public("apart")
    file = pgp.home / f"openpgp-revocs.d/{pgp.fingerprint('apart')}.rev"
    revocation = file.read_text().replace(":-----BEGIN", "-----BEGIN").encode()
    check(signature, read_keys(public))

    with pytest.raises(BuildFailed, match="a block has no key"):
        read_keys(public + revocation)
    with pytest.raises(BuildFailed, match="key revoked"):
        check(signature, read_keys(_armored(b"".join(data for _, data in dearmored(public + revocation)))))


def test_a_key_that_says_too_much_of_itself_keeps_nobody_busy() -> None:
    """Each word is a check, with a key of 16384 bits of some milliseconds."""
    modulus = b"\xff" * 256
    key = b"\x04" + bytes(4) + b"\x01" + (2048).to_bytes(2, "big") + modulus + (17).to_bytes(2, "big") + b"\1\0\1"
    word = b"\x04\x1f\x01\x08" + bytes(6) + b"\0\x01\x05"
    ring = _packet(6, key) + _packet(2, word) * (MOST_WORDS + 1)

    with pytest.raises(BuildFailed, match="more than 2000 things"):
        read_keys(_armored(ring))


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def _armored(data: bytes) -> bytes:
    return b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + base64.encodebytes(data) + b"-----END PGP PUBLIC KEY BLOCK-----\n"


def test_what_is_no_key() -> None:
    for text, said in ((b"ssh-ed25519 AAAA", "no armored data found"), (b"-----BEGIN PGP MESSAGE-----\n\nqqo=\n", "got: PGP MESSAGE")):
        with pytest.raises(BuildFailed, match=said):
            read_keys(text)


def test_a_key_without_a_word_of_its_own_is_nobody(pgp: GnuPG) -> None:
    (entity,) = read_keys(pgp.public("one"))
    entity.about = None

    with pytest.raises(BuildFailed, match="no valid self-signature"):
        check(pgp.sign("one", DATA), [entity])
