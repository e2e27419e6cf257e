"""Links within the repository's Markdown lead to files and headings that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(
        part.startswith(".") or part in ("build", "node_modules")
        for part in path.relative_to(ROOT).parts
    )
)

_CODE: Final = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_INLINE_CODE: Final = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK: Final = re.compile(
    r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)
_HEADING: Final = re.compile(r"^#+\s+(.+?)\s*#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    """The targets of a document's links and images, outside code."""
    prose = _INLINE_CODE.sub("", _CODE.sub("", text))
    return [inline or reference for inline, reference in _LINK.findall(prose)]


def anchors(text: str) -> set[str]:
    """The fragments that lead to a document's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_CODE.sub("", text)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    broken = []
    for link in links(text):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", link):
            continue  # of another place, which a test does not visit
        path, _, fragment = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        if not (target.exists() and target.is_relative_to(ROOT)) or (
            fragment and fragment not in anchors(target.read_text("utf-8"))
        ):
            broken.append(link)
    assert not broken


def test_links_are_found_outside_code_only() -> None:
    text = 'See [a](b.md "title") and ![c](<d.svg>).\n`[x](y)`\n```\n[x](z)\n```\n[e]: f.md\n'
    assert links(text) == ["b.md", "d.svg", "f.md"]


def test_anchors_are_those_of_the_headings() -> None:
    text = "# One `two`: three\n## Again\n## Again\n```\n# no heading\n```\n"
    assert anchors(text) == {"one-two-three", "again", "again-1"}
