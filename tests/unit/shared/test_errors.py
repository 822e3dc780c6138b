"""The error tree: details as BuildKit's clients read them, wrapping, and looking at them."""

import base64

import pytest

from shared.errors import (
    BuildFailed,
    BuildmeshError,
    Code,
    Detail,
    InvalidInput,
    NotFound,
    RefLost,
    first_failure,
    source_detail,
    stack_detail,
    vertex_detail,
)
from shared.model import SourceInfo, SourcePosition, SourceRange


def test_codes_are_of_the_class_unless_told() -> None:
    """A build failure is UNKNOWN, so that clients print the bare message."""
    assert (BuildFailed("x").status_code, NotFound("x").status_code) == (Code.UNKNOWN, Code.NOT_FOUND)
    assert NotFound("x", code=Code.UNKNOWN).status_code is Code.UNKNOWN


def test_details_are_kept_once_and_in_order() -> None:
    """Wrapping the same fact again adds nothing."""
    error = BuildFailed("x").with_details(vertex_detail("a"), vertex_detail("b")).with_details(vertex_detail("a"))

    assert [d.json()["digest"] for d in error.details] == ["a", "b"]
    assert error.detail("errdefs.Vertex+json") == vertex_detail("a")
    assert error.detail("errdefs.Nothing+json") is None


def test_prefix() -> None:
    """Message and text alike."""
    error = InvalidInput("x").prefixed("failed to load LLB")

    assert (error.message, str(error)) == ("failed to load LLB: x", "failed to load LLB: x")


def test_source_detail_has_the_text_and_both_ends_of_each_range() -> None:
    """The client prints the excerpt from it and dereferences both."""
    where = SourceRange(start=SourcePosition(line=2), end=SourcePosition(line=3, character=4))
    value = source_detail(SourceInfo(filename="Dockerfile", data=b"FROM x"), [where]).json()

    assert base64.b64decode(value["info"]["data"]) == b"FROM x"
    assert value["ranges"] == [{"start": {"line": 2, "character": 0}, "end": {"line": 3, "character": 4}}]


def test_a_detail_that_is_no_json() -> None:
    """Whoever sent it, it is only unreadable."""
    assert Detail(type_url="x", value=b"\xff").json() is None


def test_stack_detail_tells_modules_and_lines_but_no_paths() -> None:
    """Innermost frame first."""

    def raises() -> None:
        raise BuildFailed("boom")

    with pytest.raises(BuildFailed) as caught:
        raises()
    frames = stack_detail(caught.value, version="v1").json()["frames"]

    assert frames[0]["Name"].endswith(".raises")
    assert all(not frame["File"].startswith("/") and frame["Line"] > 0 for frame in frames)


def test_first_failure_of_nested_groups() -> None:
    """As itself."""
    error = NotFound("x")

    group: ExceptionGroup[BuildmeshError] = ExceptionGroup("a", [ExceptionGroup("b", [error])])  # type: ignore[list-item]

    assert first_failure(group) is error


def test_the_first_failure_of_ours_comes_before_others_and_is_raised_as_itself() -> None:
    ours = RefLost("r")

    def fail() -> None:
        try:
            raise BaseExceptionGroup("", [KeyError("x"), BaseExceptionGroup("", [ours])])
        except BaseExceptionGroup as group:
            raise first_failure(group) from None

    with pytest.raises(RefLost) as raised:
        fail()
    assert raised.value is ours
    assert isinstance(first_failure(BaseExceptionGroup("", [KeyError("x")])), KeyError)
