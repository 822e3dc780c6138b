"""Ops as bytes: what Go would write, and nothing taken in that does not hold together."""

import pytest

from shared import llb
from shared.errors import InvalidInput
from shared.llb.codec_exec import known
from shared.llb.codec_file import file_from_pb
from shared.model import Digest, Platform
from shared.pb import ops_pb2 as pb

D = Digest("sha256:" + "ab" * 32)
LINUX = Platform(os="linux", architecture="amd64")

EXEC = llb.ExecOp(
    meta=llb.Meta(
        args=("sh", "-c", "x"),
        env=("A=b",),
        cwd="/w",
        user="u",
        proxy_env=llb.ProxyEnv(http="h"),
        extra_hosts=(llb.HostIP(host="h", ip="1.2.3.4"),),
        hostname="n",
        ulimits=(llb.Ulimit(name="nofile", soft=-1, hard=5),),
        cgroup_parent="cg",
        remove_mount_stubs_recursive=True,
        valid_exit_codes=(0, 3),
    ),
    mounts=(
        llb.Mount(input=0, dest="/", output=0),
        llb.Mount(dest="/c", output=-1, type=llb.MountType.CACHE, cache=llb.CacheOpt(id="i", sharing=llb.Sharing.LOCKED)),
        llb.Mount(dest="/t", output=-1, type=llb.MountType.TMPFS, tmpfs_size=0),
        llb.Mount(dest="/s", type=llb.MountType.SECRET, secret=llb.FileSecret(id="s", mode=0o400, optional=True)),
        llb.Mount(dest="/a", type=llb.MountType.SSH, ssh=llb.FileSecret(id="", uid=1, gid=2, mode=0o600)),
    ),
    network=llb.NetMode.HOST,
    security=llb.SecurityMode.INSECURE,
    secret_env=(llb.SecretEnv(id="e", name="E", optional=True),),
    devices=(llb.Device(name="d", optional=True),),
)
FILE = llb.FileOp(
    actions=(
        llb.FileAction(input=0, action=llb.MkDir(path="/d", make_parents=True, owner=llb.Chown(user=llb.Owner(name="u", input=0)))),
        llb.FileAction(input=1, action=llb.MkFile(path="/f", data=b"x", owner=llb.Chown(group=llb.Owner(id=7)))),
        llb.FileAction(input=2, secondary_input=0, action=llb.Copy(src="/a", dest="/b", mode_str="u+x", mode=0, include_patterns=("p",))),
        llb.FileAction(input=3, action=llb.Rm(path="/r", allow_not_found=True)),
        llb.FileAction(input=4, output=0, action=llb.Symlink(oldpath="o", newpath="n", timestamp=5)),
    )
)


@pytest.mark.parametrize(
    "kind",
    [
        EXEC,
        FILE,
        llb.SourceOp(identifier="local://x", attrs={"b": "1", "a": "2"}),
        llb.MergeOp(inputs=(0, 0)),
        llb.DiffOp(lower=-1, upper=0),
        llb.BuildOp(builder=-1, inputs={"x": 0}, definition=b"\n\x01x", attrs={"k": "v"}),
        llb.PassthroughOp(id="p", outputs=(0,)),
    ],
    ids=lambda kind: type(kind).__name__,
)
def test_every_kind_comes_back_as_it_was(kind: llb.Kind) -> None:
    op = llb.Op(kind=kind, inputs=(llb.Input(digest=D, index=2),), platform=LINUX)

    data = llb.encode_op(op)

    assert llb.decode_op(data) == op
    assert llb.encode_op(llb.decode_op(data)) == data


def test_the_kind_comes_after_all_other_fields_and_maps_are_sorted() -> None:
    op = llb.Op(kind=llb.SourceOp(identifier="i", attrs={"b": "1", "a": "2"}), platform=LINUX)

    assert llb.encode_op(op) == b"R\x0e\n\x05amd64\x12\x05linuxZ\x00\x1a\x13\n\x01i\x12\x06\n\x01a\x12\x012\x12\x06\n\x01b\x12\x011"


def test_the_pointer_has_no_constraints() -> None:
    assert llb.encode_op(llb.Op(kind=None, inputs=(llb.Input(digest=D),), constraints=None)).startswith(b"\nI\nGsha256:")


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidInput, match="invalid UTF-8"):
        llb.encode_op(llb.Op(kind=llb.SourceOp(identifier="\udcff")))


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (pb.Op(exec=pb.ExecOp(meta=pb.Meta(args=["x"]), network=9)), "invalid network mode 9"),  # type: ignore[arg-type]
        (pb.Op(exec=pb.ExecOp(meta=pb.Meta(), mounts=[pb.Mount(mountType=7)])), "invalid mount type 7"),  # type: ignore[arg-type]
        (pb.Op(exec=pb.ExecOp()), "no meta"),
        (pb.Op(inputs=[pb.Input(digest="sha256:x")]), "invalid input digest"),
        (pb.Op(inputs=[pb.Input(digest=D, index=-1)]), "invalid input index -1"),
        (pb.Op(diff=pb.DiffOp(lower=pb.LowerDiffInput())), "lower and upper"),
        (pb.Op(file=pb.FileOp(actions=[pb.FileAction()])), "action without a kind"),
    ],
)
def test_what_does_not_hold_together_is_refused(message: pb.Op, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        llb.decode_op(message.SerializeToString())


def test_bytes_that_are_no_op_are_refused() -> None:
    with pytest.raises(InvalidInput, match="failed to parse"):
        llb.decode_op(b"\xff\xff\xff")
    with pytest.raises(InvalidInput, match="failed to parse"):
        llb.decode_source_op(b"\xff")


def test_source_ops_travel_alone() -> None:
    source = llb.SourceOp(identifier="docker-image://x", attrs={"a": "b"})

    assert llb.decode_source_op(llb.encode_source_op(source)) == source
    assert source.scheme == "docker-image"


def test_parts_can_be_read_alone() -> None:
    assert known(llb.NetMode, 1, "x") is llb.NetMode.HOST
    assert file_from_pb(pb.FileOp()) == llb.FileOp(actions=())
