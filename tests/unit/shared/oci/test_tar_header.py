"""Headers equal those of Go's archive/tar; the golden file was written by a Go program (PAX format asked for, as containerd does)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.oci.tar_header import encode_header, padding

_CASES = json.loads((Path(__file__).parents[3] / "golden/oci/tar_headers.json").read_text())


@pytest.mark.parametrize("case", _CASES, ids=lambda c: c["Name"][:12])
def test_bytes(case: dict[str, Any]) -> None:
    """Long names split or moved to PAX, numbers that do not fit, non-ASCII names, capabilities."""
    records = {b"SCHILY.xattr.security.capability": bytes.fromhex(case["Xattr"])} if case["Xattr"] else {}
    data = encode_header(
        name=case["Name"].encode(),
        linkname=case["Link"].encode(),
        mode=case["Mode"],
        size=case["Size"],
        mtime=case["Mtime"],
        uid=case["Uid"],
        gid=case["Gid"],
        typeflag=bytes([case["Type"]]),
        major=case["Maj"],
        minor=case["Min"],
        records=records,
    )

    assert case["Sum"] == hashlib.sha256(data).hexdigest()


def test_what_does_not_fit_is_refused() -> None:
    """Modes, devices and NULs that no header can hold."""
    for bad in ({"mode": 8**7}, {"major": 8**7}, {"minor": -1}):
        with pytest.raises(ValueError, match="does not fit"):
            encode_header(name=b"x", **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NUL"):
        encode_header(name=b"x\0y" * 50)


def test_padding() -> None:
    """Up to the next block of 512."""
    assert [len(padding(n)) for n in (0, 1, 512)] == [0, 511, 0]
