"""The platform of builds that name none."""

from shared.model.platform import Platform
from shared.model.workers import default_platform, is_native

AMD = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64").normalized()


def test_the_machines_own_wins_wherever_it_stands_and_however_few_have_it() -> None:
    assert default_platform([ARM, ARM, AMD], "x86_64") == AMD
    assert default_platform([AMD, ARM], "aarch64") == ARM


def test_else_what_most_have_and_the_machines_own_while_nobody_is_there() -> None:
    assert default_platform([ARM, AMD, ARM], "riscv64") == ARM
    assert default_platform([], "riscv64") == Platform(os="linux", architecture="riscv64")


def test_a_worker_without_platforms_runs_nothing_natively() -> None:
    assert is_native((AMD, ARM), AMD)
    assert not is_native((AMD, ARM), ARM)
    assert not is_native((), AMD)
