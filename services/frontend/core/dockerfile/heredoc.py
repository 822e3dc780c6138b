"""Heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"` (parser/parser.go heredocFromMatch)."""

import re

from services.frontend.core.dockerfile.nodes import Heredoc
from services.frontend.core.dockerfile.shell_words import WordRules, split
from services.frontend.core.failure import DockerfileError

_HEREDOC = re.compile(r"[0-9]*<<(-?)[\t\n\f\r ]*([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_WORD = WordRules(skip_unset=True)
_RAW_WORD = WordRules(skip_unset=True, raw_quotes=True)
_LINE = WordRules(skip_unset=True, raw_quotes=True, raw_escapes=True)


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that this word opens, None when it opens none. Raises DockerfileError for a broken quote."""
    if "<<" not in word:
        return None
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[2]:
        return None
    words = split(match[2], {}, _WORD)
    if len(words) != 1:
        return None
    raw = split(match[2], {}, _RAW_WORD)
    if len(raw) != 1:
        raise DockerfileError(f"internal lexing of heredoc produced inconsistent results: {match[2]}")
    return Heredoc(name=words[0], expand=_quotes(words[0]) == _quotes(raw[0]), chomp=match[1] == "-")


def is_heredoc(word: str) -> Heredoc | None:
    """As parse_heredoc, but a broken one is simply none."""
    try:
        return parse_heredoc(word)
    except DockerfileError:
        return None


def heredocs_of_line(line: str) -> list[Heredoc]:
    """All heredocs that an instruction opens, in order."""
    try:
        words = split(line, {}, _LINE)
    except DockerfileError:
        return []
    return [heredoc for heredoc in map(parse_heredoc, words) if heredoc is not None]


def chomp(content: str) -> str:
    """Content without the tabs at the beginning of each line."""
    return _LEADING_TABS.sub("", content)


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
