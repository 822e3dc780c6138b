"""Documentation that points somewhere points at something."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.meta.sources import ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
PATH_IN_CODE = re.compile(r"`((?:services|shared|client|tests|docs|examples)/[\w./-]+\.(?:py|md|toml|proto|txt))`")

PAGES = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))


def anchors(page: Path) -> set[str]:
    """The fragment of each heading, as code hosts make it."""
    text = CODE.sub(lambda code: "" if code[0].startswith("```") else code[0].strip("`"), page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere in this repository. Addresses elsewhere are not asked."""
    found = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        target, _, fragment = unquote(link).partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links and fragments of a page exist."""
    assert broken(ROOT / page) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_named_files_exist(page: Path) -> None:
    """A path of ours in code style is the path of a file."""
    named = PATH_IN_CODE.findall((ROOT / page).read_text())

    assert sorted({name for name in named if not (ROOT / name).exists()}) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """The checker sees what it should."""
    page = tmp_path / "page.md"
    page.write_text("# One thing\n[good](#one-thing) [bad](#two) [bad](gone.md) [elsewhere](https://example.com/x) `[code](gone.md)`\n")

    assert broken(page) == ["#two", "gone.md"]
