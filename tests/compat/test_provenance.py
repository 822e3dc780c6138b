"""Provenance and SBOMs of one build by the real buildkitd and by ours: the same documents but for times, ids and what hangs on them."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.clients import Buildctl
from tests.kit.dockerfile_images import push_all
from tests.kit.parts.buildkitd import daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.registry import Registry, registry_server

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """\
FROM scratch AS base
COPY --from=tools / /
FROM base AS build
ARG WORD=none
RUN --network=none --mount=type=secret,id=s,required=false --mount=type=tmpfs,target=/t echo "$WORD" > /out
FROM alpine
COPY --from=build /out /
COPY --link --chmod=644 . /context/
WORKDIR /w
ENV A=b
"""
MODES = {
    "min": "mode=min",
    "max": "mode=max",
    "v0.2": "mode=max,version=v0.2",
    "v0.2-min": "mode=min,version=v0.2,builder-id=https://example.org/b,reproducible=true",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry_server(tmp_path_factory.mktemp("registry")) as found:
        push_all(found.url)
        yield found


@pytest.fixture(scope="module")
def builders(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Buildctl]]:
    folder = tmp_path_factory.mktemp("provenance")
    config = f'[registry."docker.io"]\n  mirrors = ["{registry.host}"]\n'
    flags = ["--oci-worker-net=host"]
    with (
        daemon(folder / "theirs", real_buildkitd(), config=config, flags=flags) as theirs,
        daemon(folder / "ours", our_buildmeshd(), config=config, flags=flags) as ours,
    ):
        yield {
            "theirs": Buildctl(addr=theirs.addr, work=folder / "theirs-work"),
            "ours": Buildctl(addr=ours.addr, work=folder / "ours-work"),
        }


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder, tools = tmp_path / "context", tmp_path / "tools"
    (tools / "bin").mkdir(parents=True)
    folder.mkdir()
    shutil.copy("/bin/busybox", tools / "bin/busybox")
    (tools / "bin/sh").symlink_to("busybox")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "file").write_text("content")
    return folder


def options(context: Path, wish: str) -> list[str]:
    tools = context.parent / "tools"
    args = [
        "build-arg:WORD=hi",
        "label:l=v",
        "vcs:source=https://user:pass@example.org/x.git",
        "vcs:revision=abc",
        "context:tools=local:tools",
    ]
    return [f"--opt=attest:provenance={wish}", *(f"--opt={arg}" for arg in args), f"--local=tools={tools}"]


def blobs(archive: Path) -> dict[str, Any]:
    """Digest → JSON of everything in an archive that is some."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.startswith("blobs/sha256/") and member.isfile():
                file = tar.extractfile(member)
                data = file.read() if file is not None else b""
                if data[:1] == b"{":
                    found["sha256:" + member.name.rpartition("/")[2]] = json.loads(data)
    return found


def masked(value: Any, key: str = "") -> Any:
    """Without what differs by nature. Maps keyed by digests of ops that name a session become lists."""
    match value:
        case dict() if key == "digestMapping":
            return sorted(value.values())
        case dict():
            return {k: masked(v, k) for k, v in value.items()}
        case list():
            return [masked(item, key) for item in value]
        case str() if key in ("startedOn", "finishedOn", "invocationId", "buildStartedOn", "buildFinishedOn", "buildInvocationID"):
            return "*"
        case str():  # buildkitd shows the credentials of vcs:source in requests, we never do
            value = value.replace("//user:pass@", "//xxxxx:xxxxx@")
    return "*" if key in ("digest", "size") and "sha256" in str(value) else value


def statements(found: dict[str, Any]) -> list[Any]:
    return [doc for doc in found.values() if doc.get("_type")]


@pytest.mark.parametrize("wish", MODES.values(), ids=MODES)
def test_image_attestations_are_those_of_buildkit(wish: str, builders: dict[str, Buildctl], context: Path, tmp_path: Path) -> None:
    shown: dict[str, Any] = {}
    for name, buildctl in builders.items():
        archive = tmp_path / f"{name}.tar"
        buildctl.build(context, *options(context, wish), f"--output=type=oci,name=example.org/x:1,dest={archive}")
        found = blobs(archive)
        assert name == "theirs" or "user:pass" not in str(found)
        index = next(doc for doc in found.values() if "manifests" in doc)
        attested = index["manifests"][1]
        carrier = found[attested["digest"]]
        (statement,) = statements(found)
        layers = statement["predicate"].get("runDetails", statement["predicate"]).get("metadata", {})
        for key in ("buildkit_metadata", "https://mobyproject.org/buildkit@v1#metadata"):
            steps = layers.get(key, {}).get("layers")
            if steps is not None:  # the blobs themselves hang on the time of the build
                layers[key]["layers"] = {
                    step: [[layer["mediaType"] for layer in chain] for chain in chains] for step, chains in steps.items()
                }
        assert attested["annotations"]["vnd.docker.reference.digest"] == index["manifests"][0]["digest"] == carrier["subject"]["digest"]
        assert statement["subject"][0]["digest"] == {"sha256": index["manifests"][0]["digest"].partition(":")[2]}
        shown[name] = masked({"statement": {**statement, "subject": [s["name"] for s in statement["subject"]]}, "carrier": _keys(carrier)})
        shown[name]["order"] = list(statement["predicate"])

    assert shown["ours"] == shown["theirs"]


def _keys(carrier: dict[str, Any]) -> dict[str, Any]:
    return {
        "keys": list(carrier),
        "type": carrier["artifactType"],
        "config": carrier["config"],
        "layers": [(layer["mediaType"], layer["annotations"]) for layer in carrier["layers"]],
    }


def test_local_exports_have_the_file(builders: dict[str, Buildctl], context: Path, tmp_path: Path) -> None:
    shown = {}
    for name, buildctl in builders.items():
        buildctl.build(context, *options(context, "mode=min"), f"--output=type=local,attestation-prefix=p-,dest={tmp_path}/{name}")
        statement = json.loads((tmp_path / name / "p-provenance.json").read_text())
        shown[name] = (statement["_type"], statement["predicateType"], sorted(s["name"] for s in statement["subject"]))

    assert shown["ours"] == shown["theirs"]
    assert "out" in shown["ours"][2]


def test_complete_materials_are_refused_where_a_local_source_is_used(builders: dict[str, Buildctl], context: Path, tmp_path: Path) -> None:
    said = {}
    for name, buildctl in builders.items():
        with pytest.raises(Exception, match="provenance materials are incomplete") as caught:
            buildctl.build(context, *options(context, "complete-materials=true"), f"--output=type=oci,dest={tmp_path}/{name}.tar")
        said[name] = str(caught.value).rpartition("error: ")[2].strip()

    assert said["ours"] == said["theirs"]


SCANNER = """\
FROM scratch
COPY --from=tools / /
COPY <<-"EOF" /scan
	cd "$BUILDKIT_SCAN_DESTINATION"
	one() {
		cat > "$1.spdx.json" <<-X
	{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://spdx.dev/Document", "subject": $3, "predicate": {
		"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "$1 $BUILDKIT_SCAN_MORE", "dataLicense": "CC0-1.0",
		"documentNamespace": "n", "creationInfo": {"created": "2024-01-01T00:00:00Z", "creators": ["Tool: scan"]},
		"files": [{"fileName": "$2", "SPDXID": "SPDXRef-File", "checksums": [], "copyrightText": ""}]}}
	X
	}
	for tree in "$BUILDKIT_SCAN_SOURCE" "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do
		for file in "$tree"/*; do found=$file; done
		one "${tree##*/}" "/${found##*/}" "[]"
	done
	one other /none '[{"name": "x", "digest": {"sha256": "ab"}}]'
EOF
CMD ["/bin/sh", "-e", "/scan"]
"""
SCANNED = """\
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM scratch AS first
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY file /a
FROM scratch
COPY --from=first /a /b
COPY file /c
"""


def test_sboms_are_those_of_buildkit(registry: Registry, builders: dict[str, Buildctl], context: Path, tmp_path: Path) -> None:
    """In the image with layers of files, and beside the files of a local export; stages and the context are scanned too."""
    tools = context.parent / "tools"
    (tools / "bin/cat").symlink_to("busybox")
    (context / "Dockerfile").write_text(SCANNER)
    scanner = f"{registry.host}/scanner:1"
    named = [f"--local=tools={tools}", "--opt=context:tools=local:tools"]
    builders["theirs"].build(context, *named, f"--output=type=image,name={scanner},push=true")
    (context / "Dockerfile").write_text(SCANNED)
    shown: dict[str, Any] = {}
    for name, buildctl in builders.items():
        archive, folder = tmp_path / f"{name}.tar", tmp_path / name
        outputs = [f"--output=type=oci,name=example.org/x:1,dest={archive}", f"--output=type=local,dest={folder}"]
        buildctl.build(context, f"--opt=attest:sbom=generator={scanner},MORE=more", *outputs)
        files = {path.name: json.loads(path.read_text()) for path in folder.glob("*.spdx.json")}
        shown[name] = {"image": _sboms(archive), "files": masked(files)}

    assert shown["ours"] == shown["theirs"]
    assert sorted(shown["ours"]["files"]) == ["other.spdx.json", "sbom-context.spdx.json", "sbom-first.spdx.json", "sbom.spdx.json"]
    assert shown["ours"]["image"]["documents"][0]["predicate"]["files"][0]["comment"] == "layer 1"


def _sboms(archive: Path) -> dict[str, Any]:
    """Layers by their number: their digests hang on the time of the build."""
    found = blobs(archive)
    index = next(doc for doc in found.values() if "manifests" in doc)
    image, carrier = (found[child["digest"]] for child in index["manifests"])
    layers = [layer["digest"] for layer in image["layers"]]
    documents = [found[layer["digest"]] for layer in carrier["layers"]]
    own = {"sha256": index["manifests"][0]["digest"].partition(":")[2]}
    for document in documents:
        document["subject"] = [{**subject, "digest": "its own"} if subject["digest"] == own else subject for subject in document["subject"]]
        for file in document["predicate"]["files"]:
            layer = file.get("comment", "").removeprefix("layerID: ")
            file["comment"] = f"layer {layers.index(layer)}" if layer else ""
    return {"carrier": _keys(carrier), "documents": masked(documents)}
