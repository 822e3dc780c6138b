"""Secrets of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.secrets import SecretSource, parse, read
from shared.errors import InvalidInput, NotFound


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=a,src=/x", SecretSource(id="a", path="/x")),
        ("id=a,env=B", SecretSource(id="a", variable="B")),
        ("id=a,type=env,src=B", SecretSource(id="a", variable="B")),
        ("id=SET", SecretSource(id="SET", variable="SET")),
        ("id=file", SecretSource(id="file", path="file")),
        ("type=file,id=a,source=/x", SecretSource(id="a", path="/x")),
    ],
)
def test_parse(text: str, expected: SecretSource) -> None:
    assert parse(text, {"SET": "1"}) == expected


@pytest.mark.parametrize("text", ["a", "id=", "src=/x", "id=a,what=b"])
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidInput, match="--secret"):
        parse(text, {})


def test_read(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\0value")
    assert read(SecretSource(id="a", path=f"{tmp_path}/s"), {}) == b"\0value"
    assert read(SecretSource(id="a", variable="V"), {"V": ""}) == b""


def test_errors_name_the_secret_only(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (501 << 10))
    for source in (SecretSource(id="a", path="/nowhere"), SecretSource(id="a", variable="V")):
        with pytest.raises(NotFound, match="secret a"):
            read(source, {})
    with pytest.raises(InvalidInput, match="secret a: larger"):
        read(SecretSource(id="a", path=f"{tmp_path}/large"), {})
