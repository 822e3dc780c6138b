"""Where the Dockerfile and its context come from."""

import io
import json
import tarfile
from typing import Any

import pytest

from services.frontend.core.context import Contexts, archive_time, internal, is_archive
from services.frontend.core.failure import DockerfileError
from services.frontend.core.ignore_file import parse_ignore_file
from services.frontend.core.named_context import familiar_name, find_named, image_of, reference_of, resolve_image, with_image
from services.frontend.core.options import parse_options
from services.frontend.core.requests import SourceFacts
from shared.llb import Constraints, Definition, FileStep, MarshalDefaults, MkFile, SourceOp, State, decode_op, marshal, scratch
from shared.model import Platform
from tests.kit.fake_bridge import FakeBridge, FakeImage

AMD64 = Platform(os="linux", architecture="amd64")
DEFAULTS = MarshalDefaults(platform=AMD64)
CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Env": ["A=b"], "WorkingDir": "/w"}}).encode()


def contexts(**raw: str) -> Contexts:
    named = {key.replace("__", ":"): value for key, value in raw.items()}
    return Contexts(parse_options(named, session="s", build_platform=AMD64), DEFAULTS)


def sources(state: State) -> list[SourceOp]:
    kinds = [decode_op(data).kind for data in marshal(state, DEFAULTS).data.values()]
    return [kind for kind in kinds if isinstance(kind, SourceOp)]


def file_definition(name: str, data: bytes) -> Definition:
    return marshal(scratch().file([FileStep(action=MkFile(path=name, data=data))], Constraints()), DEFAULTS)


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for n, (name, data) in enumerate(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1000 + n
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_a_local_dockerfile_is_read_with_its_ignore_file() -> None:
    bridge = FakeBridge(locals_={"dockerfile": {"Dockerfile": b"FROM x", "Dockerfile.dockerignore": b"a\n"}})
    found = contexts()

    entrypoint = bridge.run(found.entrypoint())

    assert entrypoint.data == b"FROM x"
    assert entrypoint.vertex in bridge.solved[0].definition.data
    assert bridge.run(found.ignore_patterns()) == ["a"]
    (source,) = sources(bridge.run(found.main_context(["x", "y"])))
    assert source.attrs == {
        "local.session": "s",
        "local.excludepatterns": '["a"]',
        "local.followpaths": '["x","y"]',
        "local.sharedkeyhint": "context",
    }


def test_the_lower_case_name_will_do() -> None:
    bridge = FakeBridge(locals_={"dockerfile": {"dockerfile": b"FROM x"}})

    assert bridge.run(contexts().entrypoint()).data == b"FROM x"


def test_a_missing_dockerfile_is_named() -> None:
    with pytest.raises(DockerfileError) as caught:
        FakeBridge(locals_={"dockerfile": {"dockerfile": b"FROM x"}}).run(contexts(filename="other").entrypoint())

    assert caught.value.message == "failed to read dockerfile: open other: no such file or directory"


def test_a_git_context_has_the_dockerfile_too() -> None:
    bridge = FakeBridge(locals_={"git://x.com/a.git": {"Dockerfile": b"FROM y"}})
    found = contexts(context="https://x.com/a.git", contextsubdir="sub")

    assert bridge.run(found.entrypoint()).data == b"FROM y"
    assert bridge.run(found.ignore_patterns()) == []
    assert sources(bridge.run(found.main_context()))[0].identifier == "git://x.com/a.git"


def test_a_downloaded_archive_is_unpacked() -> None:
    bridge = FakeBridge(locals_={"https://x.com/c": {"context": tar(f=b"x"), "Dockerfile": b"FROM z"}})
    found = contexts(context="https://x.com/c")

    assert bridge.run(found.entrypoint()).data == b"FROM z"
    assert bridge.run(found.location()).http_archive


def test_a_download_that_is_no_archive_is_the_dockerfile() -> None:
    bridge = FakeBridge(locals_={"https://x.com/c": {"context": b"FROM w"}})

    entrypoint = bridge.run(contexts(context="https://x.com/c").entrypoint())

    assert (entrypoint.data, entrypoint.source_map.filename) == (b"FROM w", "context")


def test_inputs_override_the_clients_directories() -> None:
    bridge = FakeBridge(inputs={"dockerfile": file_definition("/Dockerfile", b"FROM i"), "context": file_definition("/a", b"b")})
    found = contexts()

    assert bridge.run(found.entrypoint()).data == b"FROM i"
    assert sources(bridge.run(found.main_context())) == []


def test_another_name_for_the_dockerfile_keeps_it_local() -> None:
    bridge = FakeBridge(locals_={"df": {"Dockerfile": b"FROM l"}}, inputs={"dockerfile": file_definition("/Dockerfile", b"FROM i")})

    assert bridge.run(contexts(dockerfilekey="df").entrypoint()).data == b"FROM l"


def test_archives_are_told_by_their_first_bytes() -> None:
    assert is_archive(b"\x1f\x8b\x08")
    assert is_archive(tar(a=b"b")[:1024])
    assert not is_archive(b"FROM x\n" * 200)
    assert not is_archive(b"")
    assert archive_time(tar(a=b"1", b=b"2")) == 1001
    assert archive_time(b"no tar") is None
    assert internal("x").description == {"llb.customname": "[internal] x"}


def test_ignore_files_are_read_line_by_line() -> None:
    assert parse_ignore_file(b"\xef\xbb\xbf# c\n a/../b \n/abs\n\n!x\n! /y/\n#z\n !q\r\n!\n") == ["b", "abs", "!x", "!y", "!q", "!"]


def named(value: str, bridge: FakeBridge, platform: Platform | None = None, **raw: str) -> Any:
    found = find_named(contexts(context__foo=value, **raw), "docker.io/library/foo:latest", platform, lambda: ["p"])
    assert found is not None
    return bridge.run(found.load())


def test_named_images_bring_their_environment() -> None:
    bridge = FakeBridge(images={"docker.io/library/bar:latest": FakeImage(digest="sha256:" + "0" * 64, configs={"": CONFIG})})

    state, image = named("docker-image://bar", bridge)

    assert sources(state)[0].identifier == "docker-image://docker.io/library/bar:latest"
    assert (dict(state.env), state.directory, image.config.env) == ({"A": "b"}, "/w", ["A=b"])
    assert named("docker-image://scratch", bridge) == (scratch(), None)


def test_named_directories_are_filtered_when_marshaled() -> None:
    state, _ = named("local:dir", FakeBridge(locals_={"dir": {".dockerignore": b"ig\n"}}))

    assert sources(state)[0].attrs["local.followpaths"] == '["p"]'
    assert sources(state)[0].attrs["local.excludepatterns"] == '["ig"]'


def test_named_repositories_downloads_and_inputs() -> None:
    bridge = FakeBridge(inputs={"in": file_definition("/a", b"b")})

    assert sources(named("https://x.com/a.git#r", bridge)[0])[0].identifier == "git://x.com/a.git#r"
    assert sources(named("git@x.com:a.git", bridge)[0])[0].identifier == "git://x.com/a.git"
    assert sources(named("https://x.com/f", bridge)[0])[0].attrs == {"http.filename": "context"}
    metadata = json.dumps({"containerimage.config": __import__("base64").b64encode(CONFIG).decode()})
    state, image = named("input:in", bridge, **{"input-metadata__in": metadata})
    assert dict(state.env) == {"A": "b"}
    assert image.platform.architecture == "amd64"


def test_named_oci_layouts_need_a_digest() -> None:
    digest = "sha256:" + "1" * 64
    facts = SourceFacts(identifier="x", config=CONFIG)
    bridge = FakeBridge(answers={f"oci-layout://docker.io/library/foo@{digest}": facts})

    state, _ = named(f"oci-layout://store@{digest}", bridge)

    assert sources(state)[0].attrs == {"oci.session": "s", "oci.store": "store"}
    with pytest.raises(DockerfileError, match="has no digest"):
        named("oci-layout://store", bridge)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nothing", "invalid context specifier nothing for foo"),
        ("git:x", "invalid git context git:x"),
        ("ftp://x", "unsupported context source ftp for foo"),
        ("input:none", "invalid input none for foo"),
        ("docker-image://UP", "invalid reference format: repository name (library/UP) must be lowercase"),
    ],
)
def test_bad_named_contexts_are_named(value: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        named(value, FakeBridge())

    assert caught.value.message == message


def test_a_policy_may_put_another_source_in_place_of_an_image() -> None:
    bridge = FakeBridge(answers={"docker-image://docker.io/library/bar:latest": SourceFacts(identifier="https://x.com/f")})

    assert sources(named("docker-image://bar", bridge)[0])[0].identifier == "https://x.com/f"


def test_the_platform_is_looked_for_first() -> None:
    found = find_named(contexts(**{"context__foo::linux/amd64": "local:a", "context__foo": "local:b"}), "foo", None, lambda: [])

    assert found is not None
    assert found.value == "local:a"
    assert find_named(contexts(), "foo", None, lambda: []) is None


def test_images_are_resolved_and_applied() -> None:
    bridge = FakeBridge(images={"docker.io/library/bar:latest": FakeImage(digest="sha256:" + "0" * 64, configs={"": CONFIG})})

    facts = bridge.run(resolve_image("docker.io/library/bar:latest", AMD64, "", "log"))

    assert with_image(scratch(), image_of(facts)).directory == "/w"
    with pytest.raises(DockerfileError, match="not an image"):
        image_of(SourceFacts(identifier="x"))
    with pytest.raises(DockerfileError, match="failed to parse image config"):
        image_of(SourceFacts(identifier="x", config=b"{"))
    assert familiar_name(reference_of("docker.io/library/a:b")) == "a:b"
