"""Documents as the tests of this folder read them: headings, anchors, fences."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

FENCE = "```"
_HEADING = re.compile(r"(#+) (.*)")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")


@dataclass(frozen=True)
class Fence:
    """A piece of code in a document."""

    language: str
    text: str
    line: int  # of its first line of code, from 1

    @property
    def code_lines(self) -> list[str]:
        """Its lines without blank ones and comments."""
        return [one for one in self.text.splitlines() if one.strip() and not one.lstrip().startswith("#")]


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it, up to the next heading of any level."""

    title: str
    level: int  # 0: what stands before the first heading
    anchor: str
    lines: list[str] = field(default_factory=list)  # of a fence only its first line
    fences: list[Fence] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def fences_in(self, *languages: str) -> list[Fence]:
        return [one for one in self.fences if one.language in languages]


def read_sections(path: Path) -> list[Section]:
    """Returns the sections of a document in their order."""
    sections = [Section("", 0, "")]
    opened: tuple[str, int, list[str]] | None = None  # of the fence: language, line, text
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if opened is not None:
            if line.startswith(FENCE):
                language, start, text = opened
                sections[-1].fences.append(Fence(language, "\n".join(text), start))
                opened = None
            else:
                opened[2].append(line)
        elif line.startswith(FENCE):
            opened = (line.removeprefix(FENCE), number + 1, [])
            sections[-1].lines.append(line)
        elif found := _HEADING.fullmatch(line):
            title = found[2].strip()
            sections.append(Section(title, len(found[1]), _anchor(title, [one.anchor for one in sections])))
        else:
            sections[-1].lines.append(line)
    assert opened is None, f"{path.name}:{opened and opened[1]}: this fence has no end"
    return sections


def _anchor(title: str, known: list[str]) -> str:
    """Returns the anchor that GitHub gives to a heading."""
    plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    number = sum(re.fullmatch(rf"{plain}(-\d+)?", one) is not None for one in known)
    return f"{plain}-{number}" if number else plain


def links_of(text: str) -> list[tuple[str, str]]:
    """Returns text and target of each link."""
    return [(found[1], found[2]) for found in _LINK.finditer(text)]
