"""What can be refused before anything runs."""

from pathlib import Path
from typing import Any

from services.daemon.lock import state_lock
from services.daemon.start import in_user_namespace, main


def test_a_bad_flag(capsys: Any) -> None:
    assert main(["--nonsense"]) == 1
    assert "buildkitd: " in capsys.readouterr().err


def test_a_bad_file(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "b.toml"
    file.write_text("[workers]")

    assert main(["--config", str(file), "--root", str(tmp_path / "r")]) == 1
    assert "unknown key 'workers' in the configuration: did you mean 'worker'?" in capsys.readouterr().err


def test_a_second_instance(tmp_path: Path, capsys: Any) -> None:
    with state_lock(tmp_path):
        assert main(["--root", str(tmp_path), "--config", str(tmp_path / "none")]) == 1

    assert "another instance running?" in capsys.readouterr().err


def test_user_namespaces_are_told_apart() -> None:
    assert in_user_namespace() is (Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"])
