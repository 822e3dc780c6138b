"""Which OCI runtime the executor uses: found on PATH, asked for its version, refused when it is too old."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from shared.errors import Unavailable
from shared.oci.runtime import runtime_fault

__all__ = ["RUNTIMES", "find_runtime"]

RUNTIMES = ("buildkit-runc", "runc", "crun")
"""Looked for on PATH in this order when the configuration names none."""

_ANSWER_SECONDS = 10.0


def find_runtime(binary: str = "", names: Sequence[str] = RUNTIMES) -> str:
    """Path of the runtime: `binary`, or the first of `names` on PATH that is new enough. Blocking.

    Raises Unavailable that tells what was found and what is wanted.
    """
    faults = []
    for name in (binary,) if binary else names:
        path = shutil.which(name)
        if path is None:
            continue
        fault = _fault(path)
        if not fault:
            return path
        faults.append(f"{path}: {fault}")
    if faults:
        raise Unavailable(f"no OCI runtime that will do: {'; '.join(faults)}")
    raise Unavailable(f"no OCI runtime found: install runc (looked for {binary or ', '.join(names)})")


def _fault(path: str) -> str:
    try:
        asked = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_SECONDS, check=True)
    except OSError as error:
        return f"does not start: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"does not tell its version within {_ANSWER_SECONDS:g} s"
    except subprocess.CalledProcessError as error:
        return f"does not tell its version: {error.stderr.decode(errors='replace').strip()[-300:] or f'exit status {error.returncode}'}"
    return runtime_fault(asked.stdout.decode(errors="replace"))
