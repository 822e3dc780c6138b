"""Is this signature by that OpenPGP key over this hash?"""

from typing import Any

from services.executor.core.signatures.openpgp_packets import ECDSA, EDDSA, PublicKey, Signature
from shared.errors import BuildFailed

MIN_RSA = 2048  # bits
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "SECP256R1",
    bytes.fromhex("2b81040022"): "SECP384R1",
    bytes.fromhex("2b81040023"): "SECP521R1",
}
_ED25519 = bytes.fromhex("2b06010401da470f01")


def signs(key: PublicKey, signature: Signature, digest: bytes) -> bool:
    """False for another key's signature, a wrong one, and one that this kind of key can't make. Raises BuildFailed for short RSA keys."""
    from cryptography.exceptions import InvalidSignature

    same = key.algorithm == signature.algorithm or {key.algorithm, signature.algorithm} == {1, 3}
    if not same:
        return False
    try:
        match key.algorithm:
            case algorithm if algorithm == EDDSA:
                _check_eddsa(key, signature, digest)
            case algorithm if algorithm == ECDSA:
                _check_ecdsa(key, signature, digest)
            case _:
                _check_rsa(key, signature, digest)
    except (InvalidSignature, ValueError, OverflowError):
        return False
    return True


def _hash(signature: Signature) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    return Prehashed(getattr(hashes, signature.hash.upper())())


def _check_rsa(key: PublicKey, signature: Signature, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    n, e = (int.from_bytes(number, "big") for number in key.numbers)
    if n.bit_length() < MIN_RSA:
        raise BuildFailed(f"RSA key too short: {n.bit_length()} bits")
    if n.bit_length() > 16384 or e.bit_length() > 31:  # as in Go's crypto/rsa; a large exponent makes each check slow
        raise ValueError("no sensible key")
    padded = signature.numbers[0].rjust((n.bit_length() + 7) // 8, b"\0")
    RSAPublicNumbers(e, n).public_key().verify(padded, digest, PKCS1v15(), _hash(signature))


def _check_ecdsa(key: PublicKey, signature: Signature, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    curve = _CURVES.get(key.numbers[0])
    if curve is None:
        raise ValueError("unknown curve")
    public = ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, curve)(), key.numbers[1])
    r, s = (int.from_bytes(number, "big") for number in signature.numbers)
    public.verify(encode_dss_signature(r, s), digest, ec.ECDSA(_hash(signature)))


def _check_eddsa(key: PublicKey, signature: Signature, digest: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    oid, point = key.numbers
    if oid != _ED25519 or point[:1] != b"\x40":
        raise ValueError("unknown curve")
    r, s = (number.rjust(32, b"\0") for number in signature.numbers)
    Ed25519PublicKey.from_public_bytes(point[1:]).verify(r + s, digest)
