"""The site: built without a warning, and complete without a network."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import HOME
from test_reference import SHOWN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mkdocs") is None, reason='no mkdocs: pip install -e ".[docs]"'),
]
# What a page fetches by itself; links that a reader may follow are none.
FETCHED = re.compile(r"<(?:link|script|img|source|iframe)\b[^>]*?\b(?:href|src)=\"?([^\"\s>]+)")
IN_STYLES = re.compile(r"(?:url\(|@import )\s*[\"']?((?:https?:)?//[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={folder}"]
    built = subprocess.run([sys.executable, *words], cwd=HOME, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_no_page_fetches_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        fetched = FETCHED.findall(page.read_text())
        outside = [one for one in fetched if re.match(r"(https?:)?//", one)]
        assert not outside, (page, outside)
    for style in site.rglob("*.css"):
        assert not IN_STYLES.findall(style.read_text()), style


def test_the_reference_has_all_and_fields_their_comments(site):
    text = "".join(page.read_text() for page in (site / "reference").rglob("*.html"))
    for name in SHOWN:
        assert f'id="{name}"' in text, name
    for said in (
        "every step at once, of known words",  # a comment after a NamedTuple's field
        "the mean reward of an image's other samples",  # one before a dataclass's
        "sigmoid(&lt;f(I), h(S)&gt;)",
    ):
        assert said in text.replace("&#39;", "'"), said
    # Sections are sections: none is left in the text of a docstring.
    assert not re.search(r"(Args|Returns|Raises):\s*(\n|</p>)", text.replace("<b>", ""))


def test_commands_tell_their_help_and_recipes_their_settings(site):
    html = (site / "reference" / "commands" / "index.html").read_text()
    text = re.sub(r"<[^>]*>", "", html)
    for flag in (
        "--stop_status",
        "--retrieval J",
        "--against RUN",
        "--allow-unknown",
        "--topology",
    ):
        assert flag in text, flag
    assert "config.adversarial.rollouts =" in text
    assert str(HOME) not in text


def test_the_index_of_the_search_is_the_site_s_own(site):
    assert "emitter_suppressor" in (site / "search" / "search_index.json").read_text()
