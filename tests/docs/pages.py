"""What Markdown pages show: their blocks of code, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HOME = Path(__file__).parents[2]
PAGES = [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]
MANUALS = [*PAGES, HOME / "launch" / "README.md", HOME / "benchmarks" / "README.md"]
FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n\n?)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.S | re.M
)
COMMAND = re.compile(r"python -m capjax\.(\w+)([^&|;#]*)")


class Block(NamedTuple):
    """A block of code of a page."""

    language: str  # "" where the page names none
    code: str
    line: int  # of the page, where it begins
    note: str  # what the comment above it says, such as "not run: why"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            found["language"],
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            found["note"] or "",
        )
        for found in FENCE.finditer(text)
    ]


def commands(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(line, name, arguments) of every command of capjax in a page's blocks that are no Python.

    What may be left out, [--flag=1], is there; "..." is what the same command was given before.
    """
    for block in blocks(page):
        before: dict[str, list[str]] = {}
        lines = block.code.replace("\\\n", "  ").splitlines() if block.language != "python" else []
        for n, line in enumerate(lines):
            for name, rest in COMMAND.findall(line):
                words = shlex.split(re.sub(r"\[(-[^]]*)\]", r"\1", rest))
                if "..." in words:
                    words = before[name] + words[words.index("...") + 1 :]
                else:
                    before[name] = words
                yield block.line + n, name, [word.replace("$t", "1") for word in words]
