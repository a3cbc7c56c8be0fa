"""Pictures of the page for docs/: docs/demo.png, 1,300 pixels wide, and docs/demo-phone.png, 390.

python tests/page/pictures.py --workdir=RUN [--workdir=RUN2] [--listener=RUN]

Needs playwright and chromium, and runs that see scenes: no photo is shown. The scene is the first
whose caption is true of its near twins, too, when it is spoken alone, and of it alone when it is
told apart.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from capjax.data import scenes
from capjax.demo import flag_parser
from capjax.page import Answers, open_answers
from capjax.page.pictures import drawn

DOCS = Path(__file__).parents[2] / "docs"
WIDTHS = {"demo.png": 1300, "demo-phone.png": 390}
RATIONALITY, TRIED = 0.5, 300
LARGEST = 300_000  # bytes
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def telling_scene(answers: Answers) -> int:
    """The number of a scene that shows what telling apart is for; or else one at which something
    else is said to tell it apart, and is true; or 1."""
    run, second = answers.voices[0].run, 1
    for number in range(1, TRIED):
        one = drawn(number, answers.encoders)
        others = answers.look_alikes(one)
        seen = [picture.seen[run.encoder] for picture in (one, *others)]
        alone, told = (run.apart(seen[0], np.stack(seen[1:]), at).text for at in (1.0, RATIONALITY))
        said, held = (scenes.identifies(text, one.scene, one.twins) for text in (told, alone))
        if said and not held and scenes.holds(alone, one.scene):
            return number
        if second == 1 and told != alone and scenes.holds(told, one.scene):
            second = number
    return second


@contextlib.contextmanager
def served(flags: list[str]) -> Iterator[str]:
    """The command while it runs; the page's address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "capjax.demo", *flags, f"--port={port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as ran:
        assert ran.stderr is not None
        told = next((line for line in ran.stderr if "capjax: open" in line), "")
        if not told:
            raise SystemExit(f"the page did not start: {' '.join(command)}")
        yield f"http://127.0.0.1:{port}/"
        ran.terminate()


def take(browser: Browser, url: str, number: int, width: int, path: Path) -> None:
    """A picture of the whole page."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.goto(url)
    page.wait_for_selector("#told .verdict", timeout=300_000)
    page.fill("#number input", str(number))
    page.wait_for_function(
        "name => document.querySelector('#target figcaption').innerText == name",
        arg=f"scene {number}",
        timeout=60_000,
    )
    page.locator("#number input").blur()
    page.wait_for_timeout(5000)  # all is told, and bars have stopped moving
    page.screenshot(path=path, full_page=True)
    size = path.stat().st_size
    print(f"{path}: scene {number}, {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"{path} has more than {LARGEST:,} bytes")


def main() -> None:
    flags = flag_parser().parse_args()
    answers, _ = open_answers(flags.workdir, flags.listener)
    number = telling_scene(answers)
    with served(sys.argv[1:]) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER)
        for name, width in WIDTHS.items():
            take(browser, url, number, width, DOCS / name)
        browser.close()


if __name__ == "__main__":
    main()
