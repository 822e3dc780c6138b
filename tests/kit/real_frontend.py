"""BuildKit's own Dockerfile frontend as judge: the same case asked of a real buildkitd, and the differences to ours.

What may differ: ids of progress groups and the order of operations (llbdump reads them back through the client library), words chosen
from Go maps (one of several equally near suggestions, the order of violated rules), which of several missing images is reported.
"""

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from services.frontend.core.failure import Location
from services.frontend.core.to_llb.setting import source_ranges
from shared.llb import Definition, Metadata, decode_definition, decode_op
from tests.kit.dockerfile_cases import Answer, Case, answer
from tests.kit.fake_bridge import FakeImage
from tests.kit.parts.process import child, program


@dataclass(slots=True, kw_only=True)
class RealFrontend:
    """A running llbdump."""

    process: "subprocess.Popen[str]"

    def ask(self, case: Case) -> dict[str, Any]:
        """Its answer, one JSON object (tests/tools/llbdump/main.go)."""
        folders = dict.fromkeys(case.local_names(), str(case.folder))
        question = {"name": case.name, "opts": dict(case.options), "locals": folders}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answered: dict[str, Any] = json.loads(line)
        return answered


@contextmanager
def real_frontend(addr: str) -> Iterator[RealFrontend]:
    """`addr` of a buildkitd."""
    argv = [program("llbdump", "tests/tools/install llbdump"), addr]
    with child(argv, seconds=280, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield RealFrontend(process=process)


def differences(case: Case, real: RealFrontend, images: Mapping[str, FakeImage] | None = None) -> list[str]:
    """What our frontend gives otherwise than the real one; empty = the same."""
    theirs = real.ask(case)
    ours = answer(case, session=theirs["session"], images=images)
    if theirs.get("error") or ours.error:
        return _errors(theirs, ours)
    found = _warnings(theirs, ours)
    metadata = {key: base64.b64decode(value) for key, value in (theirs.get("metadata") or {}).items()}
    for key in sorted(metadata.keys() | ours.metadata.keys()):
        if metadata.get(key) != ours.metadata.get(key):
            found.append(f"metadata {key}: {metadata.get(key)!r} != {ours.metadata.get(key)!r}")
    refs = {key: base64.b64decode(value) for key, value in (theirs.get("refs") or {}).items() if value}
    mine = {key: d for key, d in ours.definitions.items() if d.data}
    if refs.keys() != mine.keys():
        return [*found, f"platforms: {sorted(refs)} != {sorted(mine)}"]
    for key, data in refs.items():
        found += [f"[{key}] {text}" for text in _definitions(decode_definition(data), mine[key])]
    return found


def _errors(theirs: dict[str, Any], ours: Answer) -> list[str]:
    found = []
    if not ours.error or ours.error not in theirs.get("error", ""):
        found.append(f"error: {theirs.get('error')!r} != {ours.error!r}")
    wanted = [_ranges(source.get("ranges")) for source in theirs.get("sources") or []]
    given = [_given(location) for location in reversed(ours.locations)]
    return found if wanted == given else [*found, f"lines: {wanted} != {given}"]


def _ranges(ranges: list[dict[str, Any]] | None) -> list[list[int]]:
    """Line and character of start and end, as the client's JSON has them."""
    ends = [(r.get("start") or {}, r.get("end") or {}) for r in ranges or []]
    return [[start.get("line", 0), start.get("character", 0), end.get("line", 0), end.get("character", 0)] for start, end in ends]


def _given(location: Location) -> list[list[int]]:
    return [[r.start.line, r.start.character, r.end.line, r.end.character] for r in source_ranges(location)]


def _warnings(theirs: dict[str, Any], ours: Answer) -> list[str]:
    """Text, description, page, file and places of each."""

    def text(encoded: str) -> str:
        return base64.b64decode(encoded).decode()

    wanted = sorted(
        (text(w["short"]), [text(d) for d in w.get("detail", ())], w.get("url", ""), w["sourceInfo"]["filename"], _ranges(w.get("range")))
        for w in theirs.get("warnings") or []
    )
    name = ours.filename
    given = sorted((w.short, [w.rule.description], w.rule.url, name, _given(w.location)) for w in ours.warnings)
    return [f"warnings: only theirs {w}" for w in wanted if w not in given] + [f"warnings: only ours {g}" for g in given if g not in wanted]


def _definitions(theirs: Definition, ours: Definition) -> list[str]:
    found = [f"only theirs: {decode_op(theirs.data[d])}" for d in theirs.data if d not in ours.data]
    found += [f"only ours: {decode_op(ours.data[d])}" for d in ours.data if d not in theirs.data]
    for digest in theirs.data:
        if digest not in ours.data:
            continue
        one, two = _masked(theirs.about(digest)), _masked(ours.about(digest))
        if one != two:
            found.append(f"metadata of {digest}: {one} != {two}")
        if theirs.locations.get(digest) != ours.locations.get(digest):
            found.append(f"lines of {digest}: {theirs.locations.get(digest)} != {ours.locations.get(digest)}")
    if [(s.filename, s.language, s.data) for s in theirs.sources] != [(s.filename, s.language, s.data) for s in ours.sources]:
        found.append("source files differ")
    return found


def _masked(metadata: Metadata) -> Any:
    """Metadata with ids of progress groups replaced by the group's name."""
    group = metadata.progress_group
    shown = (group.name, group.weak) if group is not None else None
    return metadata.ignore_cache, dict(metadata.description), metadata.export_cache, dict(metadata.caps), shown, metadata.resources
