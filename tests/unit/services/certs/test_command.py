"""The command line of `buildmesh certs`."""

from pathlib import Path

import pytest

from client.cli.main import main
from services.certs.authority import names_of
from services.certs.command import LOCAL


def test_the_first_run_makes_a_client_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["certs", "--out", str(tmp_path / "c"), "--name", "build.example.com"])

    printed = capsys.readouterr().out.split()
    assert code == 0
    assert f"{tmp_path}/c/clients/me" in printed
    assert len(printed) == 16


@pytest.mark.parametrize("days", ["0", "-1", "99999999999"])
def test_certificates_that_are_over_before_they_begin_are_refused(days: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "--out", str(tmp_path / "c"), "--days", days]) == 1
    assert f"error: days {days}: want 1 to " in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_more_clients_come_later(tmp_path: Path) -> None:
    main(["certs", "--out", str(tmp_path)])
    main(["certs", "--out", str(tmp_path), "--client", "alice@example.com", "--client", "ci"])

    assert sorted(folder.name for folder in (tmp_path / "clients").iterdir()) == ["alice@example.com", "ci", "me"]


def public_names(folder: Path) -> set[str]:
    return set(names_of((folder / "gateway/public/cert.pem").read_bytes()))


def test_a_gateway_gets_more_names_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "--out", str(tmp_path), "--name", "build.example.com"])
    capsys.readouterr()
    code = main(["certs", "--out", str(tmp_path), "--name", "other.example.com", "--name", "2001:DB8:0::1"])

    assert code == 0
    assert capsys.readouterr().out.split() == [f"{tmp_path}/gateway/public"]
    assert public_names(tmp_path) == {"build.example.com", "other.example.com", "2001:db8::1", *LOCAL}


def test_a_name_that_the_gateway_has_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "--out", str(tmp_path), "--name", "2001:DB8:0::1"])
    capsys.readouterr()
    main(["certs", "--out", str(tmp_path), "--name", "2001:DB8:0::1"])

    assert "has all of it already" in capsys.readouterr().err


def test_renewal_keeps_the_gateways_names(tmp_path: Path) -> None:
    main(["certs", "--out", str(tmp_path), "--name", "build.example.com"])
    before = (tmp_path / "gateway/public/cert.pem").read_bytes()
    main(["certs", "--out", str(tmp_path), "--renew"])

    assert (tmp_path / "gateway/public/cert.pem").read_bytes() != before
    assert public_names(tmp_path) == {"build.example.com", *LOCAL}


def test_nothing_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "--out", str(tmp_path)])
    code = main(["certs", "--out", str(tmp_path)])

    assert code == 0
    assert "has all of it already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--client", "../solver"], "client '../solver'"),
        (["--client", ""], "client ''"),
        (["--name", "not a host"], "name 'not a host'"),
    ],
)
def test_odd_names_are_refused(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["certs", "--out", str(tmp_path / "c"), *words])

    assert code == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_damaged_authority_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certs", "--out", str(tmp_path)])
    (tmp_path / "mesh-authority.pem").write_text("no certificate")

    assert main(["certs", "--out", str(tmp_path), "--renew"]) == 1
    assert "authority" in capsys.readouterr().err
