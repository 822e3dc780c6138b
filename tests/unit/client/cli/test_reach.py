"""The options by which every verb reaches the daemon."""

import argparse
from pathlib import Path

from client.cli import reach


def test_a_tls_folder_stands_for_its_three_files(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    reach.configure(parser)

    found = parser.parse_args(["--tlsdir", str(tmp_path)])

    assert (found.tlscacert, found.tlscert, found.tlskey) == (f"{tmp_path}/ca.pem", f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem")
