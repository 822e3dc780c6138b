"""What the parser yields: one node per instruction, still as text."""

from dataclasses import dataclass

from services.frontend.core.failure import Location, line_spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """One `<<NAME` of an instruction. `chomp`: leading tabs are dropped (`<<-`); `expand`: the name was not quoted."""

    name: str
    expand: bool
    chomp: bool
    content: str = ""


@dataclass(slots=True, kw_only=True)
class Node:
    """An instruction. `args` as cut by the rules of its keyword; `json`: they were a JSON array; `sub`: the instruction in ONBUILD."""

    keyword: str
    original: str
    args: list[str]
    flags: list[str]
    json: bool = False
    sub: "Node | None" = None
    heredocs: list[Heredoc]
    comments: list[str] | None
    start: int = 0
    end: int = 0

    @property
    def location(self) -> Location:
        return line_spans(self.start, self.end)


@dataclass(slots=True, kw_only=True)
class ParsedFile:
    """The whole file. `empty_continuations`: last lines of instructions that have blank lines inside."""

    nodes: list[Node]
    escape: str
    empty_continuations: list[int]
