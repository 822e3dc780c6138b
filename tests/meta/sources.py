"""The source files of the project, as the meta tests see them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREES = ("services", "shared", "client")


def source_files() -> list[Path]:
    """All our Python files, relative to the root; generated code is not ours."""
    found = (path.relative_to(ROOT) for tree in TREES for path in sorted((ROOT / tree).rglob("*.py")))
    return [path for path in found if path.parts[:2] != ("shared", "pb")]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Every statement below a node, at any depth; expressions are not entered, which is what makes this quick."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from statements(child)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in statements(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
