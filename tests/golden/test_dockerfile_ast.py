"""Dockerfile → syntax tree, compared with the kept trees; and trees written as files, read again."""

import pytest

from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.failure import DockerfileError
from tests.kit.dockerfile_cases import CASES, cases
from tests.kit.dockerfile_text import dumped, shapes, writable, written

KEPT = CASES.parent / "dockerfile_ast.txt"
FILES = {case.name: path.read_bytes() for case in cases() if (path := case.folder / "Dockerfile").exists()}


def tree(data: bytes) -> str:
    try:
        return "\n".join(dumped(parse(data)))
    except DockerfileError as error:
        lines = [(span.start, span.end) for location in error.locations for span in location]
        return f"error {lines}: {error.message}"


def test_every_case_has_the_kept_tree(update_golden: bool) -> None:
    made = "".join(f"== {name}\n{tree(data)}\n" for name, data in FILES.items())
    if update_golden:
        KEPT.write_text(made)

    assert made.splitlines() == KEPT.read_text().splitlines()


@pytest.mark.parametrize("name", [name for name in FILES if not tree(FILES[name]).startswith("error")])
def test_a_tree_written_as_a_file_is_read_the_same(name: str) -> None:
    file = parse(FILES[name])
    if not writable(file):
        pytest.skip("this can't be written in another way")

    assert shapes(parse(written(file))) == shapes(file)
