"""How commands look on the site: their help, their recipes, and flags that no line breaks.

Where a page says `<!-- help of capjax.evaluate -->`, the site has what --help tells; where it says
`<!-- text of configs/gan.py -->`, that file.
"""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
HELP = re.compile(r"^<!-- help of (capjax\.\w+) -->$", re.M)
TEXT = re.compile(r"^<!-- text of (configs/\w+\.py) -->$", re.M)
CODE = re.compile(r"<code>.*?</code>", re.DOTALL)
FLAG = re.compile(r"--[a-z][\w.]*")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """What MkDocs calls with every page as it is written."""
    markdown = HELP.sub(lambda asked: f"```text\n{told(asked[1])}\n```", markdown)
    return TEXT.sub(lambda asked: f"```python\n{(HOME / asked[1]).read_text()}```", markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """What MkDocs calls with every page as HTML, in which a browser would end a line after --."""

    def whole(code: re.Match[str]) -> str:
        return FLAG.sub(r'<span class="flag">\g<0></span>', code[0])

    return CODE.sub(whole, html)


@cache
def told(command: str) -> str:
    """The help of a command."""
    here = {"JAX_PLATFORMS": "cpu", "COLUMNS": "76", "PYTHONPATH": str(HOME)}
    words = [sys.executable, "-m", command, "--help"]
    # absl ends with 1 where it has told its help.
    ended = subprocess.run(words, env=os.environ | here, capture_output=True, text=True)
    if not ended.stdout:
        raise RuntimeError(f"{command} --help: {ended.stderr}")
    return ended.stdout.replace(f"{HOME}/", "").strip()
