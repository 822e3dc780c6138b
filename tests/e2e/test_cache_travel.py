"""Caches that leave one daemon and come to another, also between buildkitd and ours: same keys, same layers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ways import WAYS
from tests.kit.clients import Buildctl, Built
from tests.kit.parts.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def build(way: str, home: Path, folder: Path, *options: str) -> Built:
    """One build by a daemon on an empty root of its own."""
    with WAYS[way](home) as addr:
        return Buildctl(addr=addr, work=home / "client").build(folder, *options)


def two_stages(context: Make, busybox: str) -> Path:
    """RUN and COPY, by definition and by content, with a selector."""
    dockerfile = (
        f"FROM {busybox} AS made\nCOPY src /src\nRUN cat /src/a > /out && head -c 16 /dev/urandom > /random\n"
        f"FROM {busybox}\nCOPY --from=made /out /random /\nRUN wc /out\n"
    )
    return context(dockerfile, {"src/a": "text"})


@pytest.mark.parametrize("maker", ["buildmeshd", "buildkitd"])
def test_a_registry_cache_of_all_steps(maker: str, context: Make, busybox: str, registry: Registry, tmp_path: Path) -> None:
    """mode=max: nothing runs in the daemon that imports it, whoever has made it."""
    folder = two_stages(context, busybox)
    ref = f"{registry.host}/cache-travel/{maker}:latest"

    build(maker, tmp_path / "a", folder, "--export-cache", f"type=registry,ref={ref},mode=max")
    again = build("buildmeshd", tmp_path / "b", folder, "--import-cache", f"type=registry,ref={ref}")

    assert again.ran() == []


def test_buildkitd_finds_what_we_have_exported(context: Make, busybox: str, registry: Registry, tmp_path: Path) -> None:
    """The other way round."""
    folder = two_stages(context, busybox)
    ref = f"{registry.host}/cache-travel/ours:latest"

    build("buildmeshd", tmp_path / "a", folder, "--export-cache", f"type=registry,ref={ref},mode=max")
    again = build("buildkitd", tmp_path / "b", folder, "--import-cache", f"type=registry,ref={ref}")

    assert again.ran() == []


def test_an_inline_cache_comes_with_its_image(context: Make, busybox: str, registry: Registry, tmp_path: Path) -> None:
    """The last stage is cached, and the rebuilt image is the same one."""
    folder = two_stages(context, busybox)
    name = f"{registry.host}/cache-travel/inline:latest"
    output = ("--output", f"type=image,name={name},push=true", "--export-cache", "type=inline")

    first = build("buildmeshd", tmp_path / "a", folder, *output)
    again = build("buildmeshd", tmp_path / "b", folder, *output, "--import-cache", f"type=registry,ref={name}")

    assert not any("wc /out" in step for step in again.ran())
    assert again.digest == first.digest


def test_a_cache_in_a_folder_of_the_client(context: Make, busybox: str, tmp_path: Path) -> None:
    """type=local, both ways."""
    folder = two_stages(context, busybox)
    store = tmp_path / "store"

    build("buildmeshd", tmp_path / "a", folder, "--export-cache", f"type=local,dest={store},mode=max")
    again = build("buildmeshd", tmp_path / "b", folder, "--import-cache", f"type=local,src={store}")

    assert again.ran() == []


def test_a_layer_that_is_gone_is_a_miss(context: Make, busybox: str, tmp_path: Path) -> None:
    """Steps run again, the build succeeds."""
    folder = two_stages(context, busybox)
    store = tmp_path / "store"

    build("buildmeshd", tmp_path / "a", folder, "--export-cache", f"type=local,dest={store},mode=max")
    for blob in (store / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.unlink()
    output = tmp_path / "out"
    build("buildmeshd", tmp_path / "b", folder, "--import-cache", f"type=local,src={store}", "--output", f"type=local,dest={output}")

    assert (output / "out").read_text() == "text"


def test_a_cache_that_is_not_there_does_not_matter(context: Make, busybox: str, registry: Registry, tmp_path: Path) -> None:
    """The vertex of the import fails, the build doesn't."""
    folder = two_stages(context, busybox)
    done = build("buildmeshd", tmp_path / "a", folder, "--import-cache", f"type=registry,ref={registry.host}/nothing/here:x")

    assert "importing cache manifest from" in done.said
    assert len(done.ran()) == 4
