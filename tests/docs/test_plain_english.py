"""Finds words that we avoid in the docs, and in the docstrings, comments and messages of the code."""

from __future__ import annotations

import io
import re
import tokenize
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.sites import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


#: What readers open first.
PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
#: Folders with pages.
DOCS = ("docs",)
#: Packages, all of whose modules are checked.
SOURCES = ("example_project", "numflow_django")

#: A pattern -> what to write instead. Words match in any case; a space matches a line break too.
BANNED = {
    "anew": "again",
    "mend(?:s|ed|ing)?": "fix, fixed",
    "whoever": "anyone who, or name the person",
    "nobody": "no one, or say what does not happen",
    "told": "say who sends or shows what",
    "as ever": "as usual",
    "its hour": "its start time",
    "(?:is|was|be|were) away": "is down, or cannot be reached",
    "doorbells?": "job",
    "(?:ring|rings|rang|rung|ringing)": "enqueue, enqueued",
    "passages?": "run",
    "stands? for itself": "say what it means",
    "say good-?bye": "stop",
    r'\A"""\s*gives?': "Return, at the start of a docstring",
}
WORDS = {
    re.compile(r"(?<![\w.-])(?:" + word.replace(" ", r"\s+") + r")(?![\w-])", re.IGNORECASE): word for word in BANNED
}


class Text(NamedTuple):
    """A piece of text, and the line of its file on which it begins."""

    line: int
    text: str


def prose_of_page(page: str) -> Text:
    """Return *page* with blanks instead of its code, so that the lines keep their numbers."""
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])  # noqa: E731
    page = re.sub(r"^( *)(```+|~~~+).*?^\1\2\s*$", blank, page, flags=re.MULTILINE | re.DOTALL)
    return Text(1, re.sub(r"`[^`]*`", blank, page))


def prose_of_module(source: str) -> Iterator[Text]:
    """Yield the comments and the strings of a module, including its docstrings."""
    texts = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in texts:
            yield Text(token.start[0], re.sub(r"``?[^`]+``?", lambda m: re.sub(r"[^\n]", " ", m[0]), token.string))


def mistakes(file: str, texts: Iterable[Text]) -> list[str]:
    """Return a line for each banned word: the file, the line, the word, and what to write instead."""
    found = []
    for text in texts:
        for pattern, word in WORDS.items():
            for match in pattern.finditer(text.text):
                start = match.end() - len(match[0].lstrip(' "\n'))
                said = " ".join(text.text[start : match.end()].split())
                line = text.line + text.text.count("\n", 0, start)
                found.append(f'{file}:{line}: "{said}"; write instead: {BANNED[word]}')
    return found


def pages() -> list[Path]:
    return [*(ROOT / page for page in PAGES), *(page for root in DOCS for page in sorted((ROOT / root).rglob("*.md")))]


def modules_of(source: str) -> list[Path]:
    path = ROOT / source
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def modules() -> list[Path]:
    return [module for source in SOURCES for module in modules_of(source)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_the_docs_are_plain_english(page: Path) -> None:
    """A page has no word that a reader who learned English second would have to look up, and no slang of ours."""
    found = mistakes(relative(page), [prose_of_page(page.read_text(encoding="utf-8"))])

    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", modules(), ids=relative)
def test_the_code_is_plain_english(module: Path) -> None:
    """The docstrings, comments and messages of a module have none of these words."""
    found = mistakes(relative(module), prose_of_module(module.read_text(encoding="utf-8")))

    assert not found, "\n".join(found)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_has_modules(source: str) -> None:
    """Each source exists: a renamed package must not drop out of the test above."""
    assert modules_of(source)


def test_a_banned_word_of_a_page_is_found_with_its_line() -> None:
    """The message has the file, the line, the word, and what to write instead. Code is ignored."""
    page = "# Anew\n\n```sh\necho nobody\n```\n\nRun `ring()` as\never.\n"

    assert mistakes("page.md", [prose_of_page(page)]) == [
        'page.md:1: "Anew"; write instead: again',
        'page.md:7: "as ever"; write instead: as usual',
    ]


def test_a_banned_word_of_a_module_is_found_with_its_line() -> None:
    """Docstrings, comments and strings are checked; names and inline code are not."""
    module = '"""\nGive one.\n\nTold ``ring()``.\n"""\nring = 1  # nobody\nprint("It is\\n", "mended")\n'

    assert sorted(mistakes("module.py", prose_of_module(module))) == [
        'module.py:2: "Give"; write instead: Return, at the start of a docstring',
        'module.py:4: "Told"; write instead: say who sends or shows what',
        'module.py:6: "nobody"; write instead: no one, or say what does not happen',
        'module.py:7: "mended"; write instead: fix, fixed',
    ]
