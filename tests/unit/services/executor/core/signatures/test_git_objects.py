"""Commits and tags as git makes them, signed with gpg and ssh."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.core.signatures.git_objects import SignatureWish, check_objects, check_signature, parse_object
from shared.errors import BuildFailed
from tests.kit.signing import GnuPG, SshKey, gnupg, needs_gpg, needs_ssh_keygen, ssh_key

pytestmark = [needs_gpg, needs_ssh_keygen]
NOW = int(time.time()) + 3600  # later than any key that the tests make, however long ago they were collected


class Repository:
    """Commits are signed by gpg, tags by ssh."""

    def __init__(self, folder: Path, pgp: GnuPG) -> None:
        self.folder, self.pgp = folder, pgp
        self.key: SshKey = ssh_key(folder)
        self.armored = pgp.key("one")
        self.git("init", "-q", "-b", "main", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "unsigned")
        self.unsigned = self.name("HEAD")
        self.git("-c", f"user.signingkey={pgp.fingerprint('one')}", "commit", "-q", "--allow-empty", "-S", "-m", "signed\n\nin two parts")
        self.signed = self.name("HEAD")
        ssh = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self.key.file}")
        self.git(*ssh, "tag", "-s", "-m", "v1", "v1")
        self.tag = self.name("v1")

    def git(self, *args: str) -> str:
        about = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "GNUPGHOME": str(self.pgp.home), **about}
        done = subprocess.run(["git", *args], cwd=self.folder, env=env, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def name(self, ref: str) -> str:
        return self.git("rev-parse", ref).strip()

    def object(self, kind: str, name: str) -> bytes:
        return self.git("cat-file", kind, name).encode()

    def check(self, wish: SignatureWish, *, commit: str = "", tag: bytes | None = None) -> None:
        commit = commit or self.signed
        tag_object = self.object("tag", self.tag) if tag is None else tag
        checksum = self.tag if tag_object else commit
        raw = self.object("commit", commit)
        check_objects(wish, checksum=checksum, commit=commit if tag_object else "", commit_object=raw, tag_object=tag_object, now=NOW)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with gnupg() as pgp:
        yield Repository(tmp_path_factory.mktemp("repository"), pgp)


def test_a_tag_or_its_commit(repository: Repository) -> None:
    repository.check(SignatureWish(public_key=repository.key.public))
    repository.check(SignatureWish(public_key=repository.armored))
    repository.check(SignatureWish(public_key=repository.armored, reject_expired=True), tag=b"")
    repository.check(SignatureWish(public_key=repository.key.public, require_tag=True))
    with pytest.raises(BuildFailed, match="failed to parse ssh public key"):
        repository.check(SignatureWish(public_key=repository.armored, require_tag=True))
    with pytest.raises(BuildFailed, match="failed to read armored public key"):
        repository.check(SignatureWish(public_key=repository.key.public, ignore_tag=True))
    with pytest.raises(BuildFailed, match="signed tag required but no signed tag found"):
        repository.check(SignatureWish(public_key=repository.armored, require_tag=True), tag=b"")
    with pytest.raises(BuildFailed, match="git object is not signed"):
        repository.check(SignatureWish(public_key=repository.armored), commit=repository.unsigned, tag=b"")
    with pytest.raises(BuildFailed, match="no armored data found"):
        repository.check(SignatureWish(public_key=b""), tag=b"")


def test_what_was_changed_is_no_longer_signed(repository: Repository) -> None:
    raw = repository.object("commit", repository.signed)
    with pytest.raises(BuildFailed, match="invalid signature"):
        check_signature(parse_object(raw.replace(b"two parts", b"one part")), SignatureWish(public_key=repository.armored), now=NOW)
    with pytest.raises(BuildFailed, match=f"checksum mismatch: expected {repository.signed}"):
        parse_object(raw + b"more").check_name(repository.signed)
    with pytest.raises(BuildFailed, match="failed to verify ssh"):
        tag = repository.object("tag", repository.tag).replace(b"v1\n", b"v2\n")
        check_signature(parse_object(tag), SignatureWish(public_key=repository.key.public), now=NOW)


def test_objects_that_are_none() -> None:
    for raw, said in ((b"", "missing tree header"), (b"object a\ntype commit\ntag t\n\n", "missing tagger header")):
        with pytest.raises(BuildFailed, match=said):
            parse_object(raw)
    with pytest.raises(BuildFailed, match="unsupported sha length 3"):
        parse_object(b"tree t\nauthor a\ncommitter c\n\n").check_name("abc")
    other = parse_object(b"tree t\nauthor a\ncommitter c\ngpgsig other\n more\nencoding e\n\nm")
    assert (other.signature, other.signed) == ("other\nmore", b"tree t\nauthor a\ncommitter c\nencoding e\n\nm")
    with pytest.raises(BuildFailed, match="invalid signature format"):
        check_signature(other, SignatureWish(public_key=b""), now=NOW)
