"""Definitions from outside."""

import pytest

from shared import llb
from shared.errors import InvalidInput
from shared.model import Digest, Platform, ProgressGroup, SourcePosition, SourceRange
from shared.pb import ops_pb2 as pb

LINUX = Platform(os="linux", architecture="amd64")
DEFAULTS = llb.MarshalDefaults(platform=LINUX)


def built() -> llb.State:
    """An image and two steps on it, with everything that can be said about a step."""
    source_map = llb.SourceMap(filename="Dockerfile", language="Dockerfile", data=b"FROM x\n")
    place = llb.Place(source=source_map, ranges=(SourceRange(start=SourcePosition(line=1), end=SourcePosition(line=1, character=4)),))
    state = llb.image_source("docker.io/library/x:latest", llb.Constraints(platform=LINUX, places=(place,)))
    constraints = llb.Constraints(
        ignore_cache=True,
        description={"llb.customname": "step"},
        progress_group=ProgressGroup(id="g", name="n", weak=True),
        resources=llb.Resources(memory=5, cpuset_cpus="0"),
        export_cache=False,
        places=(place,),
    )
    return state.run(llb.Process(args=("x",)), llb.RunOptions(), constraints)


def raw(*ops: bytes) -> bytes:
    message = pb.Definition()
    getattr(message, "def").extend(ops)
    return message.SerializeToString()


def pointer(digest: str, index: int = 0) -> bytes:
    return pb.Op(inputs=[pb.Input(digest=digest, index=index)]).SerializeToString()


def test_a_definition_comes_back_as_it_was() -> None:
    data = llb.encode_definition(llb.marshal(built(), DEFAULTS))

    read = llb.decode_definition(data)

    assert llb.encode_definition(read) == data
    assert [about.custom_name for about in read.metadata.values() if about.custom_name] == ["step"]
    assert [digest for digest, _ in llb.walk(read)] == list(read.ops)
    assert read.result is not None
    about = read.about(read.result.digest)
    assert (about.ignore_cache, about.export_cache, about.resources) == (True, False, llb.Resources(memory=5, cpuset_cpus="0"))
    assert read.locations[read.result.digest][0].ranges[0].end.character == 4
    assert read.about(Digest("sha256:unknown")) == llb.Metadata()


def test_an_empty_definition_is_scratch() -> None:
    assert llb.decode_definition(b"").result is None
    assert llb.encode_definition(llb.marshal(llb.scratch(), DEFAULTS)) == b""


def source(name: str) -> bytes:
    return llb.encode_op(llb.Op(kind=llb.SourceOp(identifier=name)))


def test_structure_is_checked() -> None:
    one = source("local://x")
    digest = llb.op_digest(one)
    missing = "sha256:" + "0" * 64
    merge = llb.encode_op(llb.Op(kind=llb.MergeOp(inputs=(0,)), inputs=(llb.Input(digest=Digest(missing)),)))
    for data, complaint in (
        (b"\xff", "failed to parse llb definition"),
        (raw(one), "invalid LLB with 1 vertexes"),
        (raw(one, one), "does not name one result"),
        (raw(one, pointer(missing)), "invalid missing input digest"),
        (raw(merge, pointer(llb.op_digest(merge))), "invalid missing input digest"),
        (raw(one, pointer(digest, 3)), "output index 3 of"),
        (raw(one, pb.Op().SerializeToString()), "does not name one result"),
        (raw(source(""), pointer(llb.op_digest(source("")))), "can't be empty"),
    ):
        with pytest.raises(InvalidInput, match=complaint):
            llb.decode_definition(data)


def test_locations_must_name_a_source_file() -> None:
    one = source("local://x")
    message = pb.Definition()
    message.ParseFromString(raw(one, pointer(llb.op_digest(one))))
    message.Source.locations["x"].locations.add(sourceIndex=1)

    with pytest.raises(InvalidInput, match="source map with index 1"):
        llb.decode_definition(message.SerializeToString())


def test_ops_that_nothing_needs_are_left_out() -> None:
    one, two = source("local://x"), source("local://y")

    read = llb.decode_definition(raw(two, one, pointer(llb.op_digest(one))))

    assert list(read.ops) == [llb.op_digest(one)]


def test_an_input_goes_on_as_it_is() -> None:
    definition = llb.marshal(built(), DEFAULTS)
    data = llb.encode_definition(definition)

    again = llb.marshal(llb.definition_state(llb.decode_definition(data)), DEFAULTS)

    assert llb.encode_definition(again) == data
    assert llb.definition_state(llb.Definition()).output is None


def test_json_is_that_of_go() -> None:
    doc = llb.definition_json(llb.marshal(built(), DEFAULTS))

    assert list(doc) == ["def", "metadata", "Source"]
    about = next(m for m in doc["metadata"].values() if "progress_group" in m)
    assert about["progress_group"] == {"id": "g", "name": "n", "weak": True}
    assert about["linux_resources"] == {"memory": 5, "cpusetCpus": "0"}
    assert about["export_cache"] == {}
    assert doc["Source"]["infos"] == [{"filename": "Dockerfile", "data": "RlJPTSB4Cg==", "language": "Dockerfile"}]


def test_converted_json_has_ops_by_digest() -> None:
    definition = llb.marshal(built(), DEFAULTS)

    doc = llb.convert_json(definition)

    assert list(doc) == ["def", "metadata", "source"]
    assert list(doc["def"]) == sorted(doc["def"])
    assert len(doc["def"]) == len(definition.data) + 1
    assert list(doc["source"]["locations"]) == sorted(doc["source"]["locations"])


def test_vertices_without_a_name_are_called_after_what_they_do() -> None:
    d = Digest("sha256:" + "ab" * 32)
    inputs = (llb.Input(digest=d),)
    file = llb.FileOp(
        actions=(
            llb.FileAction(input=0, action=llb.MkDir(path="/a")),
            llb.FileAction(input=1, action=llb.Copy(src="/x", dest="/y")),
            llb.FileAction(input=2, action=llb.MkFile(path="/b")),
            llb.FileAction(input=3, action=llb.Rm(path="/c")),
            llb.FileAction(input=4, action=llb.Symlink(oldpath="o", newpath="n")),
        )
    )
    for kind, name in (
        (llb.SourceOp(identifier="local://x"), "local://x"),
        (llb.ExecOp(meta=llb.Meta(args=("a", "b")), mounts=()), "a b"),
        (file, "mkdir /a, copy /x /y, mkfile /b, rm /c, symlink n -> o"),
        (llb.MergeOp(inputs=(0,)), "merge (base)"),
        (llb.DiffOp(lower=-1, upper=0), "diff scratch -> (base)"),
        (llb.BuildOp(builder=-1), "build"),
        (llb.PassthroughOp(id="p", outputs=(0,)), "passthrough p"),
        (None, "unknown"),
    ):
        assert llb.op_name(llb.Op(kind=kind, inputs=inputs), {d: "base"}) == name
