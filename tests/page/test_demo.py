"""The command, and its page in a real browser: photos dropped, sliders moved, nothing kept."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

from capjax.demo import main
from capjax.errors import InputError
from capjax.page import open_answers

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason='Gradio is not installed (the extra "demo")'
)
needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or not Path(CHROMIUM).exists(),
    reason="there is no playwright or no chromium",
)


def test_without_gradio_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("serving", "blocks", "layout"):
        monkeypatch.delitem(sys.modules, f"capjax.page.{name}", raising=False)
    assert main(["--workdir=nowhere"]) == 2
    told = capsys.readouterr().err
    assert told == (
        "capjax: the page needs Gradio, and there is no gradio; install it with"
        ' pip install -e ".[demo]"\n'
    )


def test_what_the_page_has_no_place_for_is_told(trained, tmp_path):
    with pytest.raises(InputError, match=r"^--workdir=.*nowhere is not there"):
        open_answers([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match=r"^--listener=.*trained no listener"):
        open_answers([str(trained)], str(trained))


def test_runs_and_their_images_are_opened(trained):
    answers, missing = open_answers([str(trained)])
    assert not missing
    (voice,), (album,) = answers.voices, answers.albums
    assert (voice.run.name, album.name) == ("trained", "folder, val")
    assert answers.first_album is album
    picture = album.picture(0, answers.encoders)
    alike = answers.look_alikes(picture)
    assert picture.name not in [one.name for one in alike]
    assert len(alike) == 3  # of four images


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def begun(*flags: str, folder: Path) -> subprocess.Popen:
    env = os.environ | {"TMPDIR": str(folder), "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        [sys.executable, "-m", "capjax.demo", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory) -> Iterator[tuple[str, Path, subprocess.Popen]]:
    """(its address, where temporary files lie, the process); Ctrl-C ends it in one sentence."""
    folder = tmp_path_factory.mktemp("demo")
    port = free_port()
    ran = begun(f"--workdir={trained}", f"--port={port}", "--largest=1", folder=folder)
    assert ran.stderr is not None
    for line in ran.stderr:
        if "capjax: open " in line:
            break
    yield f"http://127.0.0.1:{port}/", folder, ran
    ran.send_signal(2)
    errors = ran.communicate(timeout=60)[1]
    assert ran.returncode == -2
    assert errors.strip().endswith("capjax: stopped by Ctrl-C")
    assert "Traceback" not in errors
    assert not kept(folder)
    assert not list(folder.glob("capjax-demo-*"))


def kept(folder: Path) -> list[Path]:
    """Files that the page's server has left."""
    return [path for place in folder.glob("capjax-demo-*") for path in place.rglob("*")]


@pytest.mark.slow
@needs_gradio
def test_a_port_in_use_is_told(page, trained):
    port = page[0].rsplit(":", 1)[1].strip("/")
    ran = begun(f"--workdir={trained}", f"--port={port}", folder=page[1])
    told = ran.communicate(timeout=120)[1]
    assert ran.returncode == 2
    assert re.search(rf"--port={port} \(Address already in use\); give others\n$", told)


@pytest.mark.slow
@needs_gradio
def test_the_page_itself_names_no_other_place_to_load_from(page):
    text = urlopen(page[0]).read().decode()
    loaded = re.findall(r"""(?:src|href)=["'](https?:[^"']+)""", text)
    assert not [address for address in loaded if not address.startswith(page[0])]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        yield one
        one.close()


@pytest.fixture
def visited(page, browser):
    """The page as a visitor has it; no error is on its console, and nothing is asked elsewhere."""
    url = page[0]
    context = browser.new_context(viewport={"width": 390, "height": 800})
    visit = context.new_page()
    errors, elsewhere = [], []
    visit.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    visit.on("pageerror", lambda error: errors.append(str(error)))

    def asked(request):
        if not request.url.startswith((url, "data:", "blob:")):
            elsewhere.append(request.url)

    visit.on("request", asked)
    visit.goto(url)
    visit.wait_for_selector("#told .verdict", timeout=120_000)
    yield visit
    assert (errors, elsewhere) == ([], [])
    assert visit.evaluate("document.documentElement.scrollWidth") <= 390  # as on a phone
    context.close()


def shows(visit, selector: str, text: str) -> None:
    """Waits until a part of the page shows a text."""
    holds = "([part, text]) => document.querySelector(part)?.innerText.includes(text)"
    visit.wait_for_function(holds, arg=[selector, text], timeout=60_000)


@pytest.mark.slow
@needs_gradio
@needs_browser
def test_a_photo_is_captioned_and_told_from_others_as_the_slider_moves(page, visited, tmp_path):
    Image.new("RGB", (64, 48), "blue").save(tmp_path / "sea.jpg")
    visited.set_input_files("#photo input[type=file]", tmp_path / "sea.jpg")
    shows(visited, "#target figcaption", "sea.jpg")
    shows(visited, "#captions", "wall")
    assert not kept(page[1])

    Image.new("RGB", (64, 48), "red").save(tmp_path / "rose.png")
    visited.set_input_files("#others input[type=file]", tmp_path / "rose.png")
    visited.wait_for_function("document.querySelectorAll('#told .verdict .look').length == 4")
    assert not kept(page[1])

    slider = visited.locator("#rationality input[type=range]")
    seen = set()
    for rationality in (0.9, 0.5, 0.1):
        slider.fill(str(rationality))
        shows(visited, "#told .verdict + .verdict h4", f"\u03bb = {rationality:g})")
        seen.add(visited.inner_html("#told .verdict + .verdict .said-so"))
    assert len(seen) > 1


@pytest.mark.slow
@needs_gradio
@needs_browser
def test_what_is_no_photo_or_too_large_is_told_in_the_page(page, visited, tmp_path):
    (tmp_path / "notes.jpg").write_text("no photo")
    visited.set_input_files("#photo input[type=file]", tmp_path / "notes.jpg")
    shows(visited, "#alert", "the photo notes.jpg cannot be read: it is damaged or none of JPEG")
    assert not kept(page[1])


@pytest.mark.slow
@needs_gradio
def test_an_upload_above_the_limit_is_refused(page, tmp_path):
    """Whoever asks; a browser says so before it sends anything."""
    (tmp_path / "large.png").write_bytes(os.urandom(2**20 + 1))
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    command = [curl, "-s", "-o", os.devnull, "-w", "%{http_code}", "-F"]
    command += [f"files=@{tmp_path / 'large.png'}", f"{page[0]}gradio_api/upload"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "413"
    assert not kept(page[1])


@pytest.mark.slow
@needs_gradio
@needs_browser
def test_several_visitors_get_answers_of_their_own(page, browser, tmp_path):
    visits = []
    for name in ("one.png", "two.png", "three.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
        visit = browser.new_context().new_page()
        visit.goto(page[0])
        visit.wait_for_selector("#told .verdict", timeout=120_000)
        visits.append((name, visit))
    for name, visit in visits:  # the same bytes at once
        visit.set_input_files("#photo input[type=file]", tmp_path / name)
    for name, visit in visits:
        shows(visit, "#target figcaption", name)
        visit.context.close()
    assert not kept(page[1])
