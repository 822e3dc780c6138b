"""No test waits for ever: what starts a program or waits for one says how long."""

import ast

from tests.meta.sources import ROOT, parsed

RUNS = {"run", "call", "check_call", "check_output"}
WAITS = {"wait", "join", "communicate"}


def endless(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and call of each wait without a limit. What is awaited has the limit of its test (see tests/conftest.py).

    The end of a block of Popen waits for the program: the kit's `child` ends it.
    """
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="subprocess"), attr=name)) if name in RUNS and not limited(node):
                found.append((node.lineno, f"subprocess.{name}"))
            case ast.withitem(context_expr=ast.Call(func=ast.Attribute(attr="Popen")) as call):
                found.append((call.lineno, "a block of Popen"))
            case ast.Call(func=ast.Attribute(attr="urlopen")) if not limited(node):
                found.append((node.lineno, "urlopen"))
            case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]) if name in WAITS and id(node) not in awaited:
                found.append((node.lineno, name))
    return sorted(found)


def limited(call: ast.Call) -> bool:
    return any(keyword.arg in ("timeout", None) for keyword in call.keywords)


def test_every_wait_ends() -> None:
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
    found = [f"{file}:{line} {call}" for file in files for line, call in endless(parsed(file))]

    assert found == []


def test_an_endless_wait_is_found() -> None:
    """The checker sees what it should."""
    tree = ast.parse(
        "subprocess.run(a)\nasync def f():\n await p.wait()\n p.wait()\n' '.join(a)\nt.join(1)\nwith subprocess.Popen(a): pass\n"
    )

    assert endless(tree) == [(1, "subprocess.run"), (4, "wait"), (7, "a block of Popen")]
