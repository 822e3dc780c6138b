"""What a key can't have signed; what it has is shown with gpg (test_openpgp)."""

import pytest

from services.executor.core.signatures.openpgp_packets import ECDSA, EDDSA, RSA, PublicKey, Signature
from services.executor.core.signatures.public_key import signs
from shared.errors import BuildFailed


def signature(algorithm: int, *numbers: bytes) -> Signature:
    return Signature(kind=0, algorithm=algorithm, hash="sha256", covered=b"", numbers=numbers)


def key(algorithm: int, *numbers: bytes) -> PublicKey:
    return PublicKey(body=b"", created=0, algorithm=algorithm, numbers=numbers)


@pytest.mark.parametrize(
    ("public", "by"),
    [
        (key(RSA, b"\xff" * 256, b"\3"), signature(EDDSA, b"r", b"s")),
        (key(RSA, b"\xff" * 256, b"\3"), signature(RSA, b"\xff" * 256)),
        (key(RSA, b"\xff" * 4096, b"\3"), signature(RSA, b"")),
        (key(RSA, b"\xff" * 256, b"\xff" * 256), signature(RSA, b"")),
        (key(ECDSA, b"curve", b"\4"), signature(ECDSA, b"r", b"s")),
        (key(ECDSA, bytes.fromhex("2a8648ce3d030107"), b"\4"), signature(ECDSA, b"r", b"s")),
        (key(EDDSA, b"curve", b"\x40"), signature(EDDSA, b"r", b"s")),
        (key(EDDSA, bytes.fromhex("2b06010401da470f01"), b"\x40" + b"p" * 32), signature(EDDSA, b"r" * 40, b"s")),
    ],
)
def test_nonsense_signs_nothing(public: PublicKey, by: Signature) -> None:
    assert not signs(public, by, b"d" * 32)


def test_short_keys_are_named() -> None:
    with pytest.raises(BuildFailed, match="RSA key too short: 8 bits"):
        signs(key(RSA, b"\xff", b"\3"), signature(RSA, b"x"), b"d" * 32)
