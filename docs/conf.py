"""The site: `python -m sphinx -W -b html docs site`, with the extra `docs`.

Pages are Markdown, which is read as files, too; so links to code become plain text here. What
is said of names and commands comes from docstrings and help texts, by `docs/reference/generate.py`.
"""

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "reference")]

import generate  # noqa: E402 - found on the path above
from pygments.lexers.special import TextLexer  # noqa: E402

import zq  # noqa: E402

project = "zq"
author = "zq contributors"
copyright = author
version = release = zq.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"zq {version}"
html_copy_source = False
html_theme_options: dict[str, Any] = {"footer_icons": []}
html_static_path = ["style"]
html_css_files = ["wide.css"]
pygments_dark_style = "github-dark"  # the theme's own underlines the names of modules

default_role = "code"  # docstrings put names into single backticks
highlight_language = "none"
myst_heading_anchors = 4
napoleon_custom_sections = [("Keys", "params_style")]
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"

_OUTSIDE = re.compile(r"(?<!!)\[([^\]]*)\]\((?:\.\./)+(?:zq|patterns|tests|examples|benchmarks|docs)/[^)]*\)")

_ABOVE = re.compile(r"\]\((?:\.\./)+(README|CHANGELOG)\.md")

_ADDRESS = re.compile(r"(?<![`\w\"'])((?:tcp|ipc)://[^\s`\"',;)]*[\w*\]])")
"""An address in a sentence, which would become a link."""

_FOLDER = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)[^)\s]*/\)")


def _without_links_outside(_app: Any, name: str, source: list[str]) -> None:
    up = "../" * name.count("/")
    source[0] = _ABOVE.sub(lambda found: f"]({up}reference/generated/{found[1].lower()}.md", source[0])
    source[0] = _FOLDER.sub(r"\1", _OUTSIDE.sub(r"\1", source[0]))


def _with_the_words_of_its_twin(_app: Any, what: str, name: str, _found: Any, _options: Any, lines: list[str]) -> None:
    """Puts arguments and errors of `zq.Client` under a method of `zq.AsyncClient` that refers to it."""
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(": ", " - ")  # or napoleon takes what stands before it for a type
    if (twin := generate.twin_of(name, "\n".join(lines))) is not None:
        lines[:] = [*twin.splitlines(), ""]
    lines[:] = [_ADDRESS.sub(r"``\1``", line) for line in lines]


def _generate(_app: Any) -> None:
    generate.write(HERE / "reference" / "generated")


def setup(app: Any) -> None:
    """Connects what this site does by itself."""
    app.add_lexer("mermaid", TextLexer)  # there is none, and no drawing without a script from elsewhere
    app.connect("builder-inited", _generate)
    app.connect("source-read", _without_links_outside)
    app.connect("autodoc-process-docstring", _with_the_words_of_its_twin, priority=100)  # before napoleon reads it
