"""Exit codes and Go's quoting."""

import pytest

from services.executor.core.exit import exit_error, go_quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("x\ny\t", '"x\\ny\\t"'),
        ("é→", '"é→"'),
        ("\x01\x7f", '"\\x01\\x7f"'),
        ("\u200b", '"\\u200b"'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


def test_which_codes_are_wanted() -> None:
    assert exit_error(("a",), 0, ()) is None and exit_error(("a",), 3, (3, 4)) is None
    failure = exit_error(("sh", "-c", "x y"), 137, (), out_of_memory=True)
    assert failure is not None
    assert failure.message == 'process "sh -c x y" did not complete successfully: exit code: 137: cannot allocate memory'
    assert exit_error(("a",), 0, (3,)) is not None
