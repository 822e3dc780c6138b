"""A package says in its __init__.py what it is and what it offers, and does nothing else there."""

import ast

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


def test_packages_have_a_short_docstring() -> None:
    """What lives here, in at most 20 lines."""
    lines = {str(path): len((ast.get_docstring(parsed(path)) or "").splitlines()) for path in PACKAGES}

    assert {path: n for path, n in lines.items() if not 0 < n <= 20} == {}


def faults(tree: ast.Module) -> list[str]:
    """What `__all__` lacks, has without an import, or has twice."""
    names = exported(tree)
    if names is None:
        return ["no __all__"]
    return sorted(set(names) ^ bound(tree)) + [f"{name} twice" for name in set(names) if names.count(name) > 1]


def test_packages_list_exactly_what_they_offer() -> None:
    """`__all__` has each imported name once, and no other."""
    assert {str(path): found for path in PACKAGES if (found := faults(parsed(path)))} == {}


def test_packages_have_no_code() -> None:
    """Only the docstring, imports and `__all__`."""
    plain = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign
    odd = {str(path): [ast.unparse(node)[:60] for node in parsed(path).body[1:] if not isinstance(node, plain)] for path in PACKAGES}

    assert {path: nodes for path, nodes in odd.items() if nodes} == {}


def test_a_fault_is_found() -> None:
    """The checker sees what it should."""
    assert faults(ast.parse("from a import b, c")) == ["no __all__"]
    assert faults(ast.parse("from a import b, c\n__all__ = ['b', 'b', 'd']")) == ["c", "d", "b twice"]
