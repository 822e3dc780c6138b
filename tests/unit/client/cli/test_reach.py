"""The options by which every verb reaches the daemon."""

import argparse
from pathlib import Path

import pytest

from client.cli import reach
from shared.errors import InvalidInput


def test_a_tls_folder_stands_for_its_three_files(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    reach.configure(parser)

    found = parser.parse_args(["--tlsdir", str(tmp_path)])

    assert (found.tlscacert, found.tlscert, found.tlskey) == (f"{tmp_path}/ca.pem", f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem")


def test_tls_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    """The library's own words name none."""
    parser = argparse.ArgumentParser()
    reach.configure(parser)
    with pytest.raises(InvalidInput, match=f"{tmp_path}/ca.pem, .*key.pem: No such file"):
        reach.tls_context(parser.parse_args(["--tlsdir", str(tmp_path)]))
