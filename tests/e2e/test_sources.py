"""Where a build's files come from, beside the context: a client's OCI layout, git, http; through a real client."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit import images
from tests.kit.clients import Buildctl, ClientFailed
from tests.kit.web import served_folder

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it can be fetched."""
    folder = tmp_path / "site"
    folder.mkdir()

    with served_folder(folder) as port:
        yield folder, f"http://127.0.0.1:{port}"


def test_oci_layout_of_the_client(lone_buildctl: Buildctl, context: Callable[..., Path], tmp_path: Path) -> None:
    """A named context that is an image in a folder of the client; an unknown store is named."""
    layout = images.copy_layout("busybox", tmp_path / "layout")
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    folder, out = context("FROM base\nRUN echo made > /made\nFROM scratch\nCOPY --from=0 /made /\n"), tmp_path / "out"
    options = ("--oci-layout", f"store={layout}", "--opt")
    lone_buildctl.build(folder, *options, f"context:base=oci-layout://store@{digest}", "--output", f"type=local,dest={out}")

    assert (out / "made").read_text() == "made\n"
    with pytest.raises(ClientFailed, match="unknown store"):
        lone_buildctl.build(folder, *options, f"context:base=oci-layout://other@sha256:{'1' * 64}")


def test_git_and_http(lone_buildctl: Buildctl, context: Callable[..., Path], tmp_path: Path, site: tuple[Path, str]) -> None:
    """ADD of a repository, of a folder in it and of a file; a changed file is seen by the next build, the rest is cached."""
    folder, url = site
    _repository(tmp_path, folder / "repo.git")
    (folder / "file.txt").write_text("one")
    dockerfile = f"FROM scratch\nADD {url}/repo.git /repo\nADD {url}/repo.git#main:sub /sub\nADD --chmod=640 {url}/file.txt /\n"
    made = context(dockerfile)
    for text in ("one", "two"):
        (folder / "file.txt").write_text(text)
        out = tmp_path / text
        built = lone_buildctl.build(made, "--output", f"type=local,dest={out}")
        assert ("a", "b", text) == tuple((out / p).read_text() for p in ("repo/a.txt", "sub/b.txt", "file.txt"))
        assert not (out / "repo/.git").exists() and (out / "file.txt").stat().st_mode & 0o777 == 0o640
    assert [f"[3/3] ADD --chmod=640 {url}/file.txt /"] == built.ran()


def _repository(work: Path, bare: Path) -> None:
    folder = work / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub/b.txt").write_text("b")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    for args in (("init",), ("add", "-A"), ("commit", "-m", "c")):
        subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, timeout=60)
    subprocess.run(["git", "clone", "--bare", str(folder), str(bare)], check=True, capture_output=True, timeout=60)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True, timeout=60)
