"""Logins from Docker's config file."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from client.credentials import config_path, lookup

BASIC = base64.b64encode(b"me:pass:word").decode()


def written(folder: Path, document: Any) -> Path:
    path = folder / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("auths", "host", "expected"),
    [
        ({"r:5000": {"auth": BASIC}}, "r:5000", ("me", "pass:word")),
        ({"https://r": {"auth": BASIC}}, "r", ("me", "pass:word")),
        ({"https://index.docker.io/v1/": {"auth": BASIC}}, "registry-1.docker.io", ("me", "pass:word")),
        ({"r": {"identitytoken": "t", "auth": BASIC}}, "r", ("", "t")),
        ({"r": {"username": "u", "password": "p"}}, "r", ("u", "p")),
        ({"r": {"auth": "%%%"}}, "r", ("", "")),
        ({"r": {}}, "other", ("", "")),
        ({"r": "odd"}, "r", ("", "")),
    ],
)
def test_auths(tmp_path: Path, auths: Any, host: str, expected: tuple[str, str]) -> None:
    assert lookup(written(tmp_path, {"auths": auths}), host) == expected


def test_no_file_or_no_json_is_anonymous(tmp_path: Path) -> None:
    assert lookup(tmp_path / "none.json", "r") == ("", "")
    assert lookup(written(tmp_path, "{"), "r") == ("", "")


def test_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker-credential-<name>` is asked by its own protocol; a failing one leaves the file's entries."""
    script = tmp_path / "docker-credential-mine"
    script.write_text('#!/bin/sh\nread host\n[ "$host" = r ] && echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"s\\"}"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = written(tmp_path, {"credHelpers": {"r": "mine", "q": "mine"}, "auths": {"q": {"auth": BASIC}}})

    assert lookup(config, "r") == ("", "s")
    assert lookup(config, "q") == ("me", "pass:word")


def test_where_the_file_is() -> None:
    assert config_path({"HOME": "/h"}) == Path("/h/.docker/config.json")
    assert config_path({"HOME": "/h", "DOCKER_CONFIG": "/d"}) == Path("/d/config.json")
