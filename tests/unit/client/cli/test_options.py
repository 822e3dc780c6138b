"""Command lines into requests."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from client.cli import build
from client.cli.options import build_request, cache_entry, export, fields
from client.request import BuildRequest, CacheEntry, Export
from client.secrets import SecretSource
from client.targets import Target
from shared.errors import InvalidInput

MIRROR = Target(path="o", is_folder=True, mirror=True)


def asked(*arguments: str, environ: Mapping[str, str] | None = None) -> BuildRequest:
    parser = argparse.ArgumentParser()
    build.configure(parser)
    return build_request(parser.parse_intermixed_args(list(arguments)), environ or {})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Other").write_text("FROM scratch")
    return str(tmp_path)


def test_short_form(folder: str) -> None:
    """What docker users type."""
    request = asked("-t", "r/app:1", "-t", "r/app:2", "--build-arg", "A=b=c", "--target", "x", "--no-cache", "--push", folder)

    assert request.locals == {"context": folder, "dockerfile": folder}
    assert request.attrs == {"filename": "Dockerfile", "build-arg:A": "b=c", "target": "x", "no-cache": ""}
    assert request.exports == (Export(kind="image", attrs={"name": "r/app:1,r/app:2", "push": "true"}),)


def test_file_elsewhere(folder: str) -> None:
    request = asked("-f", f"{folder}/sub/Other", folder)
    assert request.locals == {"context": folder, "dockerfile": f"{folder}/sub"}
    assert request.attrs["filename"] == "Other"


def test_remote_context() -> None:
    request = asked("-f", "x/Dockerfile", "https://example.org/r.git#main")
    assert (request.locals, request.attrs) == ({}, {"context": "https://example.org/r.git#main", "filename": "x/Dockerfile"})


def test_long_form() -> None:
    """What buildctl users type."""
    request = asked(
        "--frontend", "gateway.v0", "--opt", "source=x/y", "--local", "context=.", "--output", "type=oci,dest=out.tar,name=n",
        "--export-cache", "type=registry,ref=r,mode=max", "--import-cache", "r", "--allow", "network.host",
        "--secret", "id=s,src=/f", "--ssh", "default=/agent", "--platform", "linux/amd64", "--platform", "linux/arm64",
    )  # fmt: skip
    assert request == BuildRequest(
        frontend="gateway.v0",
        attrs={"source": "x/y", "platform": "linux/amd64,linux/arm64"},
        locals={"context": "."},
        exports=(Export(kind="oci", attrs={"name": "n"}, target=Target(path="out.tar", is_folder=False)),),
        cache_exports=(CacheEntry(kind="registry", attrs={"ref": "r", "mode": "max"}),),
        cache_imports=(CacheEntry(kind="registry", attrs={"ref": "r"}),),
        entitlements=("network.host",),
        secrets=(SecretSource(id="s", path="/f"),),
        agents={"default": "/agent"},
    )


def test_build_args_of_the_environment(folder: str) -> None:
    request = asked("--build-arg", "HERE", "--build-arg", "GONE", folder, environ={"HERE": "x"})
    assert {k: v for k, v in request.attrs.items() if k.startswith("build-arg")} == {"build-arg:HERE": "x"}


def test_named_contexts(folder: str) -> None:
    request = asked("--build-context", "a=/tmp", "--build-context", "b=docker-image://x", folder)
    assert request.locals["a"] == "/tmp"
    assert (request.attrs["context:a"], request.attrs["context:b"]) == ("local:a", "docker-image://x")


def test_oci_layouts_as_contexts(folder: str) -> None:
    """The daemon is told a store and a digest, never the path."""
    digest = "sha256:" + "a" * 64
    request = asked("--build-context", f"a/b:1=oci-layout:///x@{digest}", folder)
    assert request.layouts == {"context-0": "/x"}
    assert request.attrs["context:a/b:1"] == f"oci-layout://context-0@{digest}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Export(kind="local", target=Target(path="out", is_folder=True))),
        ("-", Export(kind="tar", target=Target(path="-", is_folder=False))),
        ("type=tar", Export(kind="tar", target=Target(path="-", is_folder=False))),
        ("type=local,dest=o,mode=delete", Export(kind="local", attrs={"mode": "delete"}, target=MIRROR)),
        ("type=registry,name=n", Export(kind="image", attrs={"name": "n", "push": "true"})),
        ('type=image,"name=a,b"', Export(kind="image", attrs={"name": "a,b"})),
    ],
)  # fmt: skip
def test_outputs(text: str, expected: Export) -> None:
    assert export(text) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("--output", "dest=x"),
        ("--output", "type=local"),
        ("--output", "type=image,dest=x"),
        ("--output", "type=oci,tar=false,dest=x"),
        ("--output", "type=oci,dest=/"),
        ("--output", "type=oci,x"),
        ("--build-context", "x=oci-layout:///nowhere"),
        ("--local", "x"),
        ("--opt", "=x"),
        ("--opt", "requestid=frontend.lint"),
        ("--label", "x"),
        ("--secret", "x"),
        ("--secret", "src=x"),
        ("--ssh", "default"),
        ("--export-cache", "type=local,dest=x"),
        ("--import-cache", "mode=max"),
        ("nowhere",),
    ],
)
def test_wrong_options_are_named(arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(*arguments)
    assert arguments[0] in caught.value.message


def test_fields_and_cache_entries() -> None:
    assert fields('a=1,"b=2,3"', "--x") == {"a": "1", "b": "2,3"}
    assert cache_entry("type=inline", "--x") == CacheEntry(kind="inline")
