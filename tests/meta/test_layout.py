"""The tree: tests mirror sources, files and functions stay small, names say something."""

import ast
from pathlib import Path

import pytest

from tests.meta.sources import ROOT, functions, parsed, source_files, statements

NAMELESS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
SERVICES = ("gateway", "frontend", "solver", "executor", "exporter", "cachestore")
MOST_WITHOUT_TEST = 95
"""Source files that no test imports by name (others reach them through the package or the service). This number only goes down."""


def needs_test(path: Path) -> bool:
    """Ports, wiring entry points and files of mere constants or types need none."""
    if path.name in {"__init__.py", "__main__.py", "ports.py"}:
        return False
    return any(True for _ in functions(path))


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def origins() -> dict[str, str]:
    """`package.name` -> the module that a package's __init__ takes the name from."""
    found = {}
    for path in source_files():
        if path.name != "__init__.py":
            continue
        for node in parsed(path).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found.update({f"{module_name(path)}.{alias.asname or alias.name}": node.module for alias in node.names})
    return found


def modules_with_tests() -> set[str]:
    """Modules that some test file imports, itself or through its package."""
    through, found = origins(), set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in statements(parsed(path.relative_to(ROOT))):
            match node:
                case ast.Import(names=names):
                    found.update(alias.name for alias in names)
                case ast.ImportFrom(module=str(module), names=names):
                    found.add(module)
                    for alias in names:
                        name = f"{module}.{alias.name}"
                        found.update({name, through.get(name, name)})
    return found


def test_source_files_have_tests() -> None:
    """A new file comes with a test that imports it, best tests/unit/<folder>/test_<file>.py."""
    tested = modules_with_tests()
    missing = sorted(str(path) for path in source_files() if needs_test(path) and module_name(path) not in tested)

    assert len(missing) <= MOST_WITHOUT_TEST, "\n".join(missing)


def test_each_unit_test_lies_where_its_source_lies() -> None:
    """tests/unit mirrors the folders of the sources; best is one test file for each source file, named after it."""
    folders = sorted({path.parent.relative_to(ROOT / "tests/unit") for path in (ROOT / "tests/unit").rglob("test_*.py")})

    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir() and not (ROOT / folder).with_suffix(".py").exists()] == []


def test_no_file_is_too_long() -> None:
    """600 lines at the very most; aim at 400 and below."""
    assert {str(path): n for path in source_files() if (n := len((ROOT / path).read_text().splitlines())) > 600} == {}


def test_no_function_is_too_long() -> None:
    """50 lines at most, docstring not counted."""
    assert {f"{path}:{f.lineno} {f.name}": n for path in source_files() for f in functions(path) if (n := length(f)) > 50} == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function less those of its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    match function.body[0]:
        case ast.Expr(value=ast.Constant(value=str())) as docstring:
            lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_rooms(service: str) -> None:
    """And no others; the service room is a file, or a folder that exports `run` alone (docs/adr/0100)."""
    folder = ROOT / "services" / service
    found = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    room = "service" if (folder / "service").is_dir() else "service.py"

    assert found == {"__init__.py", "__main__.py", "adapters", "config.py", "core", "ports.py", room}
    if room == "service":
        exports = [node for node in parsed(folder / "service/__init__.py").body if isinstance(node, ast.Assign)]
        assert [ast.unparse(node) for node in exports] == ["__all__ = ['run']"]


def test_no_nameless_module() -> None:
    """A module is named for what it holds."""
    assert [str(path) for path in source_files() if path.stem in NAMELESS] == []


def test_public_modules_say_what_they_are() -> None:
    """Every file begins with a docstring."""
    assert [str(path) for path in source_files() if not ast.get_docstring(parsed(path))] == []
