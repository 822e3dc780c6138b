"""Signatures by ssh-keygen."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.core.signatures.sshsig import BEGIN, END, check_ssh_signature, parse_ssh_signature
from shared.errors import BuildFailed
from tests.kit.signing import needs_ssh_keygen, ssh_key

pytestmark = needs_ssh_keygen
DATA = b"what was signed\n"


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_the_key_that_signed(tmp_path: Path, kind: str) -> None:
    key, other = ssh_key(tmp_path, kind), ssh_key(tmp_path, "ed25519" if kind != "ed25519" else "ecdsa")
    signature = parse_ssh_signature(key.sign(DATA))

    check_ssh_signature(signature, DATA, b"# mine\nrestrict " + key.public, namespace="git")
    with pytest.raises(BuildFailed, match="failed to verify ssh signature"):
        check_ssh_signature(signature, DATA + b"more", key.public, namespace="git")
    with pytest.raises(BuildFailed, match="made by another key"):
        check_ssh_signature(signature, DATA, other.public, namespace="git")
    with pytest.raises(BuildFailed, match='unexpected SSH signature namespace: "git"'):
        check_ssh_signature(signature, DATA, key.public, namespace="file")
    with pytest.raises(BuildFailed, match="failed to parse ssh public key"):
        check_ssh_signature(signature, DATA, b"-----BEGIN PGP PUBLIC KEY BLOCK-----", namespace="git")


def test_short_rsa_keys_sign_nothing(tmp_path: Path) -> None:
    key = ssh_key(tmp_path, "rsa", "-b", "1024")

    with pytest.raises(BuildFailed, match="failed to verify"):
        check_ssh_signature(parse_ssh_signature(key.sign(DATA)), DATA, key.public, namespace="git")


def test_a_key_in_a_comment_is_none(tmp_path: Path) -> None:
    """Neither one that was commented out, nor one behind a key that is of no use here."""
    key, other = ssh_key(tmp_path), ssh_key(tmp_path, "ecdsa")
    signature = parse_ssh_signature(key.sign(DATA))
    unknown = base64.b64encode(len(b"ssh-new").to_bytes(4, "big") + b"ssh-new")

    with pytest.raises(BuildFailed, match="made by another key"):
        check_ssh_signature(signature, DATA, b" # lost in May: " + key.public + other.public, namespace="git")
    with pytest.raises(BuildFailed, match="no key found"):
        check_ssh_signature(signature, DATA, b"ssh-new " + unknown + b" " + key.public, namespace="git")


@pytest.mark.parametrize(
    "bad", ["", BEGIN + END, f"{BEGIN}\n*\n{END}", f"{BEGIN}\n{base64.b64encode(b'SSHSIG' + bytes(4)).decode()}\n{END}"]
)
def test_what_is_no_signature(bad: str) -> None:
    with pytest.raises(BuildFailed):
        parse_ssh_signature(bad)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    armored = f"{BEGIN}\n{base64.b64encode(b'SSHSIG' + data).decode()}\n{END}"
    with pytest.raises(BuildFailed):
        check_ssh_signature(parse_ssh_signature(armored), DATA, b"", namespace="git")
