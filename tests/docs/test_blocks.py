"""README's Python and the guides' runs as it stands, and prints what the page says it prints."""

import contextlib
import io
import shutil
from pathlib import Path

import jax
import pytest
from pages import HOME, PAGES, Block, blocks

# What README calls by name and does not make.
README = """
import jax.numpy as jnp, optax, capjax.data
from jax import random
key = random.key(0)
features, distractors = random.normal(key, (2, 2048)), random.normal(key, (2, 3, 2048))
texts = [["a dog runs", "a dog"], ["a red kite flies high"]]
vocabulary = capjax.Vocabulary.build(sum(texts, []), min_count=1)
captions = jnp.asarray(vocabulary.encode_all(["a dog runs", "a red kite"], 6))
judge_params = capjax.evaluator(9487, ("features", 2048)).init(key)
listener = capjax.listener(9487, ("features", 2048))
listener_params, optimizer = listener.init(key), optax.adam(1e-3)
"""
RUN = {page: [block for block in blocks(page) if block.language == "python"] for page in PAGES}


def params() -> list:
    """Every page with Python, marked slow where it says so."""
    found = []
    for page, shown in RUN.items():
        if shown:
            slow = "<!-- slow:" in page.read_text() or page.name == "README.md"
            marks = [pytest.mark.slow] if slow else []
            found.append(pytest.param(page, marks=marks, id=page.stem))
    return found


def run(block: Block, page: Path, names: dict) -> str:
    """What a block prints; its lines are called as the page's, in a traceback too."""
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


@pytest.mark.parametrize("page", params())
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if any("runs/mle-folder" in block.code for block in RUN[page]):
        shutil.copytree(request.getfixturevalue("trained"), tmp_path / "runs" / "mle-folder")
    names: dict = {"__name__": "__main__"}
    # As users have it.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        if page.name == "README.md":
            exec(README, names)
        shown = blocks(page)
        for block, after in zip(shown, [*shown[1:], None], strict=True):
            if block.language != "python" or block.note.startswith("not run: "):
                continue
            printed = run(block, page, names)
            if after and after.language == "text":
                assert printed == after.code, f"{page}:{block.line} prints\n{printed}"


def test_what_is_not_run_says_why():
    for page in PAGES:
        for block in blocks(page):
            assert not block.note.startswith("not run") or block.note.startswith("not run: ")
    assert {page.relative_to(HOME).as_posix() for page, shown in RUN.items() if shown} >= {
        *("README.md", "docs/own-captioner.md", "docs/own-data.md"),
        *("docs/research.md", "docs/measures.md"),
    }
