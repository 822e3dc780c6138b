"""Versions as the runtimes print them."""

import pytest

from shared.oci.runtime import runtime_fault

RUNC = "runc version {}\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n"
CRUN = "crun version {}\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\nrundir: /run/crun\nspec: 1.0.0\n+SYSTEMD +SELINUX +YAJL\n"


@pytest.mark.parametrize("version", ["1.1.0", "1.1", "1.1.5+ds1", "1.2.0-rc.1", "1.10.3", "2.0", "v1.3.1"])
def test_runc_that_will_do(version: str) -> None:
    assert runtime_fault(RUNC.format(version)) == ""


@pytest.mark.parametrize("version", ["1.0.3", "1.0.0-rc93", "0.1.1"])
def test_old_runc_is_told_with_what_is_wanted(version: str) -> None:
    number = version.partition("-")[0]

    assert runtime_fault(RUNC.format(version)) == f"runc {number} is too old: runc 1.1.0 or newer is wanted"


@pytest.mark.parametrize(
    ("version", "fault"), [("1.15", ""), ("1.15.1", ""), ("1.21", ""), ("2", ""), ("1.14.4", "1.14.4"), ("1.8.1", "1.8.1")]
)
def test_crun(version: str, fault: str) -> None:
    assert runtime_fault(CRUN.format(version)) == (f"crun {fault} is too old: crun 1.15 or newer is wanted" if fault else "")


@pytest.mark.parametrize("said", ["youki version 0.0.1", "", "kata-runtime  : 2.0\n"])
def test_a_runtime_by_another_name_is_taken_as_it_is(said: str) -> None:
    assert runtime_fault(said) == ""
