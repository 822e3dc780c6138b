"""What this machine can run."""

import os

from services.executor.adapters.platforms import native_platforms


def test_the_native_platform_comes_first() -> None:
    """Clients take the first one as the default."""
    native = native_platforms()[0]

    assert native.os == "linux"
    assert native.architecture == {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, native.architecture)
    assert len(set(native_platforms())) == len(native_platforms())
