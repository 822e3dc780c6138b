"""ADD and COPY (instructions/parse.go)."""

from services.frontend.core.dockerfile.commands import Add, Common, Copy, InlineSource
from services.frontend.core.dockerfile.flags import FlagKind, parse_flags
from services.frontend.core.dockerfile.heredoc import chomp, is_heredoc
from services.frontend.core.dockerfile.nodes import Node
from services.frontend.core.failure import DockerfileError

_ADD_FLAGS = {
    "chown": FlagKind.TEXT,
    "chmod": FlagKind.TEXT,
    "link": FlagKind.BOOL,
    "keep-git-dir": FlagKind.BOOL,
    "checksum": FlagKind.TEXT,
    "unpack": FlagKind.BOOL,
    "exclude": FlagKind.LIST,
}
_COPY_FLAGS = {
    "chown": FlagKind.TEXT,
    "from": FlagKind.TEXT,
    "chmod": FlagKind.TEXT,
    "link": FlagKind.BOOL,
    "exclude": FlagKind.LIST,
    "parents": FlagKind.BOOL,
}


def parse_add(node: Node, common: Common) -> Add:
    _check(node, "ADD")
    flags = parse_flags(node.flags, _ADD_FLAGS)
    sources, contents, dest = _sources(node, "ADD")
    return Add(
        sources=sources,
        contents=contents,
        dest=dest,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.bool("link"),
        excludes=tuple(flags.list("exclude")),
        keep_git_dir=flags.bools.get("keep-git-dir"),
        checksum=flags.text("checksum"),
        unpack=flags.bools.get("unpack"),
        **common,
    )


def parse_copy(node: Node, common: Common) -> Copy:
    _check(node, "COPY")
    flags = parse_flags(node.flags, _COPY_FLAGS)
    sources, contents, dest = _sources(node, "COPY")
    return Copy(
        sources=sources,
        contents=contents,
        dest=dest,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.bool("link"),
        excludes=tuple(flags.list("exclude")),
        source_stage=flags.text("from"),
        parents=flags.bool("parents"),
        **common,
    )


def _check(node: Node, keyword: str) -> None:
    if len(node.args) < 2:
        raise DockerfileError(f"{keyword} requires at least two arguments, but only one was provided. Destination could not be determined")


def _sources(node: Node, keyword: str) -> tuple[tuple[str, ...], tuple[InlineSource, ...], str]:
    *words, dest = node.args
    if is_heredoc(dest) is not None:
        raise DockerfileError(f"{keyword} cannot accept a heredoc as a destination")
    contents_by_name = {heredoc.name: heredoc.content for heredoc in node.heredocs}
    paths: list[str] = []
    contents: list[InlineSource] = []
    for word in words:
        heredoc = is_heredoc(word)
        if heredoc is None:
            paths.append(word)
            continue
        data = contents_by_name.get(heredoc.name, "")
        data = chomp(data) if heredoc.chomp else data
        contents.append(InlineSource(path=heredoc.name, data=data, expand=heredoc.expand))
    return tuple(paths), tuple(contents), dest
