"""Warnings of frontends: shown, and bounded."""

import pytest

from services.solver.service import warnings as module
from services.solver.service.warnings import Warnings
from shared.errors import Exhausted, InvalidInput
from shared.model import SourceInfo
from shared.wire.messages import BridgeWarn, Finding

DIGEST = "sha256:" + "ab" * 32


def warning(count: int = 1, *, data: bytes = b"FROM x", digest: str = DIGEST) -> BridgeWarn:
    findings = tuple(Finding(level=0, short=b"short %d" % n, detail=(b"detail",), url="u") for n in range(count))
    return BridgeWarn(digest=digest, findings=findings, info=SourceInfo(filename="Dockerfile", data=data))


def test_each_finding_is_shown_with_its_file() -> None:
    shown = Warnings().take(warning(2))

    assert [(w.vertex, w.level, w.short, w.detail, w.url) for w in shown] == [
        (DIGEST, 1, b"short 0", (b"detail",), "u"),
        (DIGEST, 1, b"short 1", (b"detail",), "u"),
    ]
    assert all(w.info is not None and w.info.data == b"FROM x" for w in shown)


def test_what_is_no_vertex_is_refused() -> None:
    with pytest.raises(InvalidInput, match="invalid vertex digest"):
        Warnings().take(warning(digest="build/../x"))


def test_a_build_has_so_many_warnings_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    warnings = Warnings()
    assert len(warnings.take(warning(2))) == 2

    with pytest.raises(Exhausted, match="one build can have 3 warnings"):
        warnings.take(warning(2))

    assert len(warnings.take(warning(1))) == 1, "what was refused does not count"


def test_their_files_count_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)

    assert Warnings().take(warning(3, data=b"x" * 3_000))
    with pytest.raises(Exhausted):
        Warnings().take(warning(4, data=b"x" * 3_000))
