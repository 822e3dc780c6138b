"""Input that means harm: refused with a clear error or kept inside the root, and the daemon lives on."""

import hashlib
import io
import re
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.pb import ops_pb2 as pb
from tests.kit.clients import Buildctl, ClientFailed

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def lives_on(lone_buildctl: Buildctl) -> Iterator[None]:
    """Whatever a test did, the daemon answers afterwards."""
    yield
    lone_buildctl.call("debug", "workers", seconds=10)


def send(client: Buildctl, definition: bytes) -> str:
    """What buildctl says of a raw definition that must fail."""
    done = subprocess.run(
        client.argv("build", "--progress=plain"),
        input=definition,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode, said
    return said


def definition(*ops: pb.Op) -> bytes:
    made = pb.Definition()
    getattr(made, "def").extend(op.SerializeToString(deterministic=True) for op in ops)
    return made.SerializeToString(deterministic=True)


def digest_of(op: pb.Op) -> str:
    return f"sha256:{hashlib.sha256(op.SerializeToString(deterministic=True)).hexdigest()}"


def folder_on_scratch() -> pb.Op:
    """An honest op: one folder on an empty root."""
    make = pb.FileActionMkDir(path="/d", mode=0o755, timestamp=0)
    return pb.Op(file=pb.FileOp(actions=[pb.FileAction(input=-1, secondaryInput=-1, output=0, mkdir=make)]))


def result(op: pb.Op, index: int = 0) -> pb.Op:
    return pb.Op(inputs=[pb.Input(digest=digest_of(op), index=index)])


def exec_on(op: pb.Op, **changes: object) -> pb.Op:
    """A RUN of `true` on the first output of an op."""
    run = pb.ExecOp(meta=pb.Meta(args=["true"], cwd="/"), mounts=[pb.Mount(input=0, dest="/", output=0)])
    made = pb.Op(inputs=[pb.Input(digest=digest_of(op), index=0)], platform=pb.Platform(OS="linux", Architecture="amd64"))
    made.exec.CopyFrom(run)
    for name, value in changes.items():
        setattr(made.exec, name, value)
    return made


def test_digest_of_nobody(lone_buildctl: Buildctl) -> None:
    """An input that is not in the definition is named."""
    missing = "sha256:" + "0" * 64

    assert missing in send(lone_buildctl, definition(folder_on_scratch(), pb.Op(inputs=[pb.Input(digest=missing, index=0)])))


def test_cycle(lone_buildctl: Buildctl) -> None:
    """A digest that leads to itself cannot be made honestly: malformed digests in its place are refused too."""
    for digest in ("sha256:abc", "../../etc/passwd", "", "sha256:" + "z" * 64):
        assert send(lone_buildctl, definition(pb.Op(inputs=[pb.Input(digest=digest, index=0)])))


@pytest.mark.parametrize("index", [-1, 7, 2**31 - 1])
def test_index_out_of_range(index: int, lone_buildctl: Buildctl) -> None:
    """An output that an op does not have."""
    base = folder_on_scratch()

    assert re.search("index|output", send(lone_buildctl, definition(base, result(base, index))))


@pytest.mark.parametrize("field", ["network", "security"])
def test_unknown_enum(field: str, lone_buildctl: Buildctl) -> None:
    """Values that no enum has are refused, not taken for the default."""
    base = folder_on_scratch()
    run = exec_on(base, **{field: 77})

    assert send(lone_buildctl, definition(base, run, result(run)))


@pytest.mark.parametrize(("entitlement", "value"), [("security", 1), ("network", 1)])
def test_entitlement_not_granted(entitlement: str, value: int, lone_buildctl: Buildctl) -> None:
    """Insecure and host network need the client's --allow."""
    base = folder_on_scratch()
    run = exec_on(base, **{entitlement: value})

    assert "not allowed" in send(lone_buildctl, definition(base, run, result(run)))


def test_mount_of_an_input_nobody_gave(lone_buildctl: Buildctl) -> None:
    base = folder_on_scratch()
    run = exec_on(base)
    run.exec.mounts[0].input = 5

    assert send(lone_buildctl, definition(base, run, result(run)))


def test_garbage(lone_buildctl: Buildctl) -> None:
    """Not a definition at all."""
    assert send(lone_buildctl, b"\xff" * 1000)


def test_huge_dockerfile(lone_buildctl: Buildctl, context: Make) -> None:
    """50 MB of comments."""
    folder = context("# " + "x" * 50_000_000 + "\nFROM scratch\n")

    with pytest.raises(ClientFailed):
        lone_buildctl.build(folder, seconds=120)


def out(client: Buildctl, folder: Path) -> Path:
    target = folder.parent / f"{folder.name}-out"
    client.build(folder, "--output", f"type=local,dest={target}")
    return target


def test_copy_does_not_climb(lone_buildctl: Buildctl, context: Make) -> None:
    """`..` in source and target stays inside."""
    (folder := context("FROM scratch\nCOPY ../../../a /../../../landed\n", {"a": "mine"})).parent.joinpath("a").write_text("not mine")

    assert (out(lone_buildctl, folder) / "landed").read_text() == "mine"


def test_links_in_the_context_lead_nowhere(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Absolute and climbing links are resolved in the context, and files are never written through them."""
    folder = context(f"FROM {busybox}\nCOPY . /ctx/\nRUN cat /ctx/absolute > /leak 2>/dev/null; cat /ctx/up > /leak2 2>/dev/null; true\n")
    (folder / "absolute").symlink_to("/etc/machine-id-of-the-host")
    (folder / "up").symlink_to("../../../../../../etc/hostname")
    secret = folder.parent / "outside"
    secret.write_text("outside")
    (folder / "out").symlink_to(secret)

    tree = out(lone_buildctl, folder)

    assert (tree / "ctx/out").is_symlink()
    assert (tree / "leak").read_text() == ""


def test_workdir_and_copy_through_a_link(lone_buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """A link in the image that points out of it ends inside it."""
    target = tmp_path / "host-folder"
    target.mkdir()
    dockerfile = (
        f"FROM {busybox}\nRUN ln -s {target} /link && ln -s ../../../../../..{target} /climb\n"
        "COPY a /link/a\nCOPY a /climb/b\nWORKDIR /link/made\nRUN touch here\n"
    )

    tree = out(lone_buildctl, context(dockerfile, {"a": "a"}))

    assert list(target.iterdir()) == []
    assert (tree / str(target).lstrip("/") / "a").read_text() == "a"
    assert (tree / str(target).lstrip("/") / "b").read_text() == "a"


def hostile_tar() -> bytes:
    """Members that climb, that are absolute, and that go through a link made before."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("../../climbed", "/absolute"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        archive.addfile(link)
        through = tarfile.TarInfo("link/buildmesh-hostile")
        through.size = 1
        archive.addfile(through, io.BytesIO(b"x"))
    return packed.getvalue()


def test_archive_stays_inside(lone_buildctl: Buildctl, context: Make) -> None:
    """Extracted inside the root or refused; never outside."""
    folder = context("FROM scratch\nADD a.tar /deep/er/\n", {"a.tar": hostile_tar()})
    try:
        out(lone_buildctl, folder)
    except ClientFailed as failed:
        assert "a.tar" in failed.said

    assert not Path("/tmp/buildmesh-hostile").exists()
    assert not Path("/absolute").exists()


def test_mount_target_through_a_link(lone_buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """A mount point that is a link out of the root is made inside it."""
    target = tmp_path / "host-mount"
    dockerfile = (
        f"FROM {busybox}\nRUN mkdir -p /x && ln -s {target.parent} /x/link\nRUN --mount=type=cache,target=/x/link/host-mount true\n"
    )

    lone_buildctl.build(context(dockerfile))

    assert not target.exists()


def test_unknown_session_is_refused(lone_buildctl: Buildctl) -> None:
    """A session id with slashes in a source is no path."""
    evil = pb.Op(
        source=pb.SourceOp(identifier="local://../../etc", attrs={"local.session": "../../../etc", "local.sharedkeyhint": "../../x"})
    )

    assert send(lone_buildctl, definition(evil, result(evil)))


def test_port_scanner(lone_buildctl: Buildctl) -> None:
    """Bytes that are no HTTP/2 close their connection and nothing else."""
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)  # an unfinished greeting may be waited for
            connection.connect(lone_buildctl.addr.removeprefix("unix://"))
            connection.sendall(noise)
            with suppress(TimeoutError, ConnectionError):
                while connection.recv(4096):
                    pass
