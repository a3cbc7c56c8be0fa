"""How commands look on the site: their help, their recipes, and flags that no line breaks.

Where a page says `<!-- every command -->`, the site has what --help of each tells; where it says
`<!-- every recipe -->`, the files of configs/.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
CODE = re.compile(r"<code>.*?</code>", re.DOTALL)
FLAG = re.compile(r"--[a-z][\w.]*")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """What MkDocs calls with every page as it is written."""
    for mark, parts in (("<!-- every command -->", helps), ("<!-- every recipe -->", recipes)):
        if mark in markdown:
            markdown = markdown.replace(mark, "\n\n".join(parts()))
    return markdown


def on_page_content(html: str, **kwargs: Any) -> str:
    """What MkDocs calls with every page as HTML, in which a browser would end a line after --."""

    def whole(code: re.Match[str]) -> str:
        return FLAG.sub(r'<span class="flag">\g<0></span>', code[0])

    return CODE.sub(whole, html)


@cache
def helps() -> list[str]:
    """A section for each command."""
    commands = [p for p in sorted(HOME.glob("capjax/*.py")) if "__main__" in p.read_text()]
    return [f"### capjax.{p.stem}\n\n```text\n{told(f'capjax.{p.stem}')}\n```" for p in commands]


def told(command: str) -> str:
    here = {"JAX_PLATFORMS": "cpu", "COLUMNS": "76", "PYTHONPATH": str(HOME)}
    words = [sys.executable, "-m", command, "--help"]
    # absl ends with 1 where it has told its help.
    ended = subprocess.run(words, env=os.environ | here, capture_output=True, text=True)
    if not ended.stdout:
        raise RuntimeError(f"{command} --help: {ended.stderr}")
    return ended.stdout.replace(f"{HOME}/", "").strip()


def recipes() -> Iterator[str]:
    """A section for each recipe."""
    for path in sorted(HOME.glob("configs/*.py")):
        yield f"### configs/{path.name}\n\n```python\n{path.read_text()}```"
