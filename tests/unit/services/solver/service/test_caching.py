"""Which caches are asked for."""

import pytest

from services.solver.service.caching import check_cache_exports, imports_in
from shared.errors import BuildFailed, Unsupported
from shared.wire.messages import TypedAttrs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"Type":"registry","Attrs":{"ref":"a/b:c"}}]', (TypedAttrs(type="registry", attrs={"ref": "a/b:c"}),)),
        ('[{"Type":"x"},{"Attrs":{}},7,{"Type":"y","Attrs":{"k":1}}]', (TypedAttrs(type="x"),)),
        ("nonsense", ()),
        ("{}", ()),
        ("[" * 100_000, ()),
    ],
)
def test_imports_that_a_client_hands_to_a_frontend(text: str, found: tuple[TypedAttrs, ...]) -> None:
    """What is malformed is no import."""
    assert imports_in({"cache-imports": text}) == found


def test_unknown_exports_are_refused_before_work() -> None:
    """Those that we don't have yet too, unless they may fail."""
    check_cache_exports([TypedAttrs(type=t) for t in ("inline", "registry", "local")])
    check_cache_exports([TypedAttrs(type="s3", attrs={"ignore-error": "true"})])
    with pytest.raises(BuildFailed, match='unknown cache exporter: "nonsense"'):
        check_cache_exports([TypedAttrs(type="nonsense")])
    with pytest.raises(Unsupported, match='cache export of type "gha"'):
        check_cache_exports([TypedAttrs(type="gha")])
