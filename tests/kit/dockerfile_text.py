"""The syntax tree of a Dockerfile as text: `dumped` to be read and kept, `written` as a Dockerfile that has the same tree."""

import json
import re
from collections.abc import Iterator
from typing import Any

from services.frontend.core.dockerfile.nodes import Node, ParsedFile

_QUOTED_IN_FLAGS = frozenset("'\" \t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0")


_BEGINS_HEREDOC = re.compile(r"\s\d*<<")
"""A byte like 0xa0 ends a flag, but does not separate words where here-documents are looked for: written, it becomes a space."""


def dumped(file: ParsedFile) -> Iterator[str]:
    """One line an instruction: its lines in the file, keyword, flags, arguments; below it its here-documents and comments."""
    if file.escape != "\\":
        yield f"escape {file.escape}"
    for node in file.nodes:
        yield f"{node.start}-{node.end} {_tree(node)}"
        for heredoc in node.heredocs:
            marks = [mark for mark, on in (("expand", heredoc.expand), ("chomp", heredoc.chomp)) if on]
            yield " ".join(["  <<", _quoted(heredoc.name), *marks, _quoted(heredoc.content)])
        yield from (f"  # {_quoted(comment)}" for comment in node.comments or ())
    yield from (f"empty continuation {line}" for line in file.empty_continuations)


def _tree(node: Node) -> str:
    if node.sub is not None:
        return " ".join([node.keyword.lower(), *map(_quoted, node.flags), f"({_tree(node.sub)})"])
    words = [node.keyword.lower(), *map(_quoted, node.flags), "json" if node.json else ":", *map(_quoted, node.args)]
    return " ".join(words)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


def writable(file: ParsedFile) -> bool:
    """False for what can't be written in another way.

    Instructions of continuations alone, or that end with an escape before others, or with a word that would begin a here-document now.
    """
    lines = [_instruction(node, file.escape) for node in file.nodes]
    if any(_BEGINS_HEREDOC.search(line) for node, line in zip(file.nodes, lines, strict=True) if not node.heredocs):
        return False
    return all(node.keyword for node in file.nodes) and not any(line.endswith(file.escape) for line in lines[:-1])


def written(file: ParsedFile) -> bytes:
    """A Dockerfile of the same instructions; lines, spaces and continuations are not kept, nor are directives but `escape`."""
    lines = [f"# escape={file.escape}", ""]
    for node in file.nodes:
        lines += [f"# {comment}" for comment in node.comments or ()]
        lines.append(_instruction(node, file.escape))
        for heredoc in node.heredocs:
            lines += [heredoc.content + heredoc.name]
    if lines[-1].endswith(file.escape) and not file.nodes[-1].heredocs:
        lines[-1] += " " + file.escape  # the last line may end so: one more is taken for a continuation
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _instruction(node: Node, escape: str) -> str:
    rest = _instruction(node.sub, escape) if node.sub is not None else _arguments(node)
    guard = ["--"] if rest.startswith(("--", "\udc85", "\udca0")) else []  # to flags, these bytes are spaces
    return " ".join([node.keyword, *(_flag(flag, escape) for flag in node.flags), *guard, rest]).rstrip(" ")


def _flag(flag: str, escape: str) -> str:
    """Every character that would mean something is escaped."""
    text = "".join(escape + ch if ch in _QUOTED_IN_FLAGS or ch == escape else ch for ch in flag)
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def _arguments(node: Node) -> str:
    if node.args == [""] and not node.json:
        return "x"  # an unknown keyword: what follows it is not looked at
    match node.keyword.lower():
        case "env" | "label":
            triples = zip(node.args[::3], node.args[1::3], node.args[2::3], strict=True)
            return " ".join(f"{name}{separator or ' '}{value}" for name, value, separator in triples)
        case "healthcheck" if node.json:
            return f"{node.args[0]} {_array(node.args[1:])}"
    if node.json:
        return _array(node.args)
    text = " ".join(node.args)
    return "\v".join(node.args) if text.startswith("[") else text  # which is no space to JSON: else the words might be an array


def _array(items: list[str]) -> str:
    return json.dumps(items, ensure_ascii=False)


def shapes(file: ParsedFile) -> list[Any]:
    """All that the nodes say but their lines, to compare."""
    return [_shape(node) for node in file.nodes]


def _shape(node: Node) -> Any:
    heredocs = [(h.name, h.expand, h.chomp, h.content) for h in node.heredocs]
    sub = _shape(node.sub) if node.sub is not None else None
    return node.keyword, node.args, node.flags, node.json, heredocs, node.comments or [], sub
