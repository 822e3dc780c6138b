"""A package says in its __init__.py what it is and what it offers, and does nothing else there."""

import ast
from pathlib import Path

import pytest

from tests.meta.sources import parsed, source_files

PACKAGES = [path for path in source_files() if path.name == "__init__.py"]


def exported(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, None when there is none."""
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
            ):
                names = ast.literal_eval(value)
                return [str(name) for name in names]
    return None


def bound(tree: ast.Module) -> set[str]:
    """Names that imports bind at the top of a module."""
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    }


@pytest.mark.parametrize("path", PACKAGES, ids=str)
def test_package_has_a_short_docstring(path: Path) -> None:
    """What lives here, in at most 20 lines."""
    docstring = ast.get_docstring(parsed(path))

    assert docstring
    assert len(docstring.splitlines()) <= 20


@pytest.mark.parametrize("path", PACKAGES, ids=str)
def test_package_lists_exactly_what_it_offers(path: Path) -> None:
    """`__all__` has each imported name once, and no other."""
    names = exported(parsed(path))

    assert names is not None, "no __all__"
    assert len(names) == len(set(names))
    assert set(names) == bound(parsed(path))


@pytest.mark.parametrize("path", PACKAGES, ids=str)
def test_package_has_no_code(path: Path) -> None:
    """Only the docstring, imports and `__all__`."""
    rest = parsed(path).body[1:]
    odd = [node for node in rest if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)]

    assert [ast.unparse(node)[:60] for node in odd] == []
