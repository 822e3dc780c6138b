"""From bytes to nodes (parser/parser.go Parse)."""

from services.frontend.core.dockerfile.directives import BOM, DirectiveReader
from services.frontend.core.dockerfile.heredoc import heredocs_of_line
from services.frontend.core.dockerfile.line_parsers import LINE_PARSERS, Cut, ignored, split_command
from services.frontend.core.dockerfile.lines import LineReader, is_comment, trim_continuation, trim_end
from services.frontend.core.dockerfile.nodes import Heredoc, Node, ParsedFile
from services.frontend.core.failure import DockerfileError, line_spans, located
from services.frontend.core.go_text import SPACE

MAX_SIZE = 4 << 20
"""Bytes of a Dockerfile; a bound of ours, so that no file keeps a frontend busy for minutes."""

MAX_NESTING = 16
"""ONBUILD ONBUILD … is refused later, by name; here it must only not recurse for ever."""

_HEREDOC_KEYWORDS = frozenset(("add", "copy", "run"))


def parse(data: bytes) -> ParsedFile:
    """The nodes of a Dockerfile. Raises DockerfileError with the lines it speaks of."""
    if len(data) > MAX_SIZE:
        raise DockerfileError(f"the Dockerfile is larger than the allowed {MAX_SIZE} bytes")
    return _Parser(data).run()


class _Parser:
    def __init__(self, data: bytes) -> None:
        self.lines = LineReader(data.removeprefix(BOM))
        self.directives = DirectiveReader()
        self.escape = "\\"
        self.line = 0  # lines read so far
        self.comments: list[str] | None = None
        self.file = ParsedFile(nodes=[], escape="\\", empty_continuations=[])

    def run(self) -> ParsedFile:
        while (raw := self.lines.next()) is not None:
            self._note_comment(raw)
            first = self._process(trim_end(raw).lstrip(SPACE), first=True)
            self.line += 1
            self._instruction(first)
        if not self.file.nodes:
            raise DockerfileError("file with no instructions").at(line_spans(self.line, 0))
        with located(line_spans(self.line, 0)):
            self.lines.check()
        self.file.escape = self.escape
        return self.file

    def _note_comment(self, raw: str) -> None:
        if not is_comment(raw):
            return
        comment = raw[1:].strip(SPACE)
        self.comments = [*(self.comments or []), comment] if comment else None

    def _process(self, text: str, *, first: bool) -> str:
        """Handles a directive; "" for a comment, else the text."""
        if not self.directives.done:
            with located(line_spans(self.line, 0)):
                directive = self.directives.read(text)
                if directive is not None and directive.name == "escape":
                    self._set_escape(directive.value)
            if directive is not None and first and self.comments:
                self.comments.pop()
        return "" if is_comment(text) else text

    def _set_escape(self, value: str) -> None:
        if value not in ("`", "\\"):
            raise DockerfileError(f"invalid escape token '{value}' does not match ` or \\")
        self.escape = value

    def _instruction(self, first: str) -> None:
        start = self.line
        text, complete = trim_continuation(first, self.escape)
        if complete and not text:
            return
        line, has_empty = self._continued(text, complete)
        if has_empty:
            self.file.empty_continuations.append(self.line)
        try:
            node = parse_node(line, self.escape, self.comments)
        except DockerfileError as error:
            raise error.at(line_spans(start, self.line)) from None
        if _takes_heredoc(node) and "<<" in line:
            self._read_heredocs(node, line, start)
        node.start, node.end = start, self.line
        self.file.nodes.append(node)
        self.comments = None

    def _continued(self, text: str, complete: bool) -> tuple[str, bool]:
        parts = [text]
        has_empty = False
        while not complete and (raw := self.lines.next()) is not None:
            body = self._process(trim_end(raw), first=False)
            self.line += 1
            if is_comment(raw):
                continue
            if not body.lstrip(SPACE):
                has_empty = True
                continue
            body, complete = trim_continuation(body, self.escape)
            parts.append(body)
        return _joined(parts), has_empty

    def _read_heredocs(self, node: Node, line: str, start: int) -> None:
        with located(line_spans(start, self.line)):
            heredocs = heredocs_of_line(line)
        for heredoc in heredocs:
            content = self._heredoc_content(heredoc)
            if content is None:
                raise DockerfileError("unterminated heredoc").at(line_spans(start, self.line))
            node.heredocs.append(Heredoc(name=heredoc.name, expand=heredoc.expand, chomp=heredoc.chomp, content=content))

    def _heredoc_content(self, heredoc: Heredoc) -> str | None:
        parts: list[str] = []
        while (raw := self.lines.next()) is not None:
            self.line += 1
            end = trim_end(raw)
            if (end.lstrip("\t") if heredoc.chomp else end) == heredoc.name:
                return "".join(parts)
            parts.append(raw)
        return None


def _joined(parts: list[str]) -> str:
    """Bytes that were no text by themselves may be together."""
    line = "".join(parts)
    return line if len(parts) == 1 or line.isascii() else line.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def parse_node(line: str, escape: str, comments: list[str] | None, depth: int = 0) -> Node:
    """The node of one instruction, its continuation lines already joined."""
    keyword, flags, rest = split_command(line, escape)
    lower = keyword.lower()
    sub: Node | None = None
    if lower == "onbuild":
        if depth >= MAX_NESTING:
            raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        sub = parse_node(rest, escape, None, depth + 1) if rest else None
        cut = Cut([sub.keyword, *sub.args]) if sub else Cut([])
    else:
        cut = LINE_PARSERS.get(lower, ignored)(rest, escape, keyword)
    return Node(keyword=keyword, original=line, args=cut.args, json=cut.json, flags=flags, sub=sub, heredocs=[], comments=comments)


def _takes_heredoc(node: Node) -> bool:
    target = node.sub if node.sub is not None else node
    return target.keyword.lower() in _HEREDOC_KEYWORDS and not target.json
