"""Definitions in numbered steps."""

import pytest

from services.solver.core.provenance.sources import redacted
from shared.errors import InvalidInput
from shared.llb import Constraints, FileStep, MarshalDefaults, MkFile, Place, SourceMap, State, encode_definition, marshal, scratch
from shared.llb.codec import op_digest
from shared.llb.sources import local_source
from shared.llb.struct_json import build_steps
from shared.model import SourcePosition, SourceRange, parse_platform
from shared.pb import ops_pb2 as pb


def chain(*inputs: list[tuple[bytes, int]]) -> bytes:
    """A definition of source ops and what stands on them: each entry lists its inputs; the last op only points."""
    definition = pb.Definition()
    for number, below in enumerate(inputs):
        op = pb.Op(source=pb.SourceOp(identifier=f"local://n{number}", attrs={"local.session": "s", "local.followpaths": "[]"}))
        if number == len(inputs) - 1:
            op = pb.Op()
        for data, index in below:
            op.inputs.append(pb.Input(digest=op_digest(data), index=index))
        getattr(definition, "def").append(op.SerializeToString())
    return definition.SerializeToString()


def data_of(raw: bytes) -> list[bytes]:
    return list(getattr(pb.Definition.FromString(raw), "def"))


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("git://me:canary@host/repo", "git://xxxxx:xxxxx@host/repo"),
        ("https://me:canary@host/file", "https://xxxxx:xxxxx@host/file"),
        ("docker-image://alpine@sha256:abc", "docker-image://alpine@sha256:abc"),
    ],
)
def test_credentials_in_urls_are_not_shown(identifier: str, shown: str) -> None:
    definition = pb.Definition()
    source = pb.Op(source=pb.SourceOp(identifier=identifier, attrs={"git.fullurl": "https://me:canary@host/repo"})).SerializeToString()
    getattr(definition, "def").extend([source, pb.Op(inputs=[pb.Input(digest=op_digest(source), index=0)]).SerializeToString()])

    found = build_steps(definition.SerializeToString(), redacted).build.steps[0]["op"]["Op"]["source"]

    assert found == {"identifier": shown, "attrs": {"git.fullurl": "https://xxxxx:xxxxx@host/repo"}}


def test_steps_are_numbered_inputs_first_and_lose_what_names_a_session() -> None:
    first = data_of(chain([], []))[0]
    raw = chain([], [(first, 0)])

    steps = build_steps(raw).build

    assert [step["id"] for step in steps.steps] == ["step0", "step1"]
    assert steps.steps[0]["op"] == {"Op": {"source": {"identifier": "local://n0", "attrs": {"local.followpaths": "[]"}}}}
    assert steps.steps[1] == {"id": "step1", "op": {"Op": {}}, "inputs": ["step0:0"]}
    assert set(steps.names.values()) == {"step0", "step1"}


def marshaled(state: State) -> bytes:
    return encode_definition(marshal(state, MarshalDefaults(platform=parse_platform("linux/amd64"))))


def test_fields_have_the_names_of_go_structs() -> None:
    tree = scratch().file([FileStep(action=MkFile(path="/a", mode=0o644, data=b"x"))], Constraints())

    step = build_steps(marshaled(tree)).build.steps[0]

    action = step["op"]["Op"]["file"]["actions"][0]
    assert action["input"] == -1
    assert action["secondaryInput"] == -1
    assert action["output"] == 0
    assert action["Action"]["mkfile"] == {"path": "/a", "mode": 420, "data": "eA==", "timestamp": -1}


def test_sources_come_with_the_definition_that_loaded_them() -> None:
    loaded = marshaled(local_source("dockerfile", Constraints()))
    source = SourceMap(filename="Dockerfile", data=b"FROM x", language="Dockerfile", definition=loaded)
    line = SourceRange(start=SourcePosition(line=1), end=SourcePosition(line=1))
    place = Place(source=source, ranges=(line,))
    tree = scratch().file([FileStep(action=MkFile(path="/a"))], Constraints(places=(place,)))

    shown = build_steps(marshaled(tree)).source

    assert shown is not None
    (info,) = shown["infos"]
    assert (info["filename"], info["language"], info["data"]) == ("Dockerfile", "Dockerfile", "RlJPTSB4")
    assert [step["id"] for step in info["llbDefinition"]] == ["step0", "step1"]
    assert list(shown["locations"]) == ["step0"]


@pytest.mark.parametrize("raw", [b"\xff\xff", chain([(b"nobody has this", 0)])])
def test_what_can_not_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        build_steps(raw)


def test_nothing_has_no_steps() -> None:
    assert build_steps(b"").build.steps == ()
