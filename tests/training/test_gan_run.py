"""A run of G-GAN's later stages, whole and cut in the last of them."""

import html
import json
import os
import runpy
import signal
import threading
import time
from pathlib import Path

import pytest
from processes import same_end
from small_runs import paint_photos, train_here

from capjax import caption
from capjax.errors import InputError
from capjax.training.stopping import Interrupted

SMALL = {
    "data.encoder": "pixels64",
    "data.min_count": 1,
    "data.max_len": 5,
    "dim": 16,
    "evaluator_dim": 16,
    "noise": 3,
    "evaluator.steps": 2,
    "evaluator.batch": 8,
    "adversarial.steps": 6,
    "adversarial.batch": 8,
    "adversarial.rollouts": 1,
    "log_every": 1,
    "save_every": 3,
    "validate_every": 100,
    "report_images": 2,
}


def recipe(photos: Path) -> dict:
    path = Path(__file__).parents[2] / "configs" / "gan.py"
    config = runpy.run_path(str(path))["get_config"]("folder")
    config.update_from_flattened_dict(SMALL | {"data.path": str(photos)})
    for decoding in (config.decoding, config.mle.decoding, config.evaluator.decoding):
        decoding.max_len = 5
    return config.to_dict() | {"stages": ["evaluator", "adversarial"]}


@pytest.fixture(scope="module")
def whole(photos, caches, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("gan") / "run"
    train_here(recipe(photos), workdir)
    return workdir


def test_the_report_has_the_captions_of_every_stage(whole):
    page = (whole / "report.html").read_text()
    for name in ("captions-after-evaluator", "captions"):
        rows = json.loads((whole / f"{name}.json").read_text())
        assert all(html.escape(row["caption"]) in page for row in (rows[0], rows[-1]))
    assert all(f"after {stage}" in page for stage in ("evaluator", "adversarial"))


@pytest.mark.slow
def test_a_run_cut_in_its_last_stage_ends_with_the_same_bits(whole, photos, caches, tmp_path):
    workdir = tmp_path / "run"
    log = workdir / "metrics.jsonl"

    def cut() -> None:
        while not log.exists() or '"stage": "adversarial"' not in log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=cut, daemon=True).start()
    with pytest.raises(Interrupted):
        train_here(recipe(photos), workdir)
    before = len(log.read_text().splitlines())
    train_here(recipe(photos), workdir)
    assert len(log.read_text().splitlines()) > before
    same_end(workdir, whole)


def test_one_image_is_refused_before_anything_is_learnt(caches, tmp_path):
    folder = paint_photos(tmp_path / "photos", images=5)
    with pytest.raises(InputError, match="has one image, and stage evaluator learns"):
        train_here(recipe(folder), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_photos_are_captioned_with_the_runs_own_evaluator(whole, photos, capsys):
    """By default the best of its draws; with --samples drawn; with --beam no evaluator is asked."""
    for how in ([], ["--samples=2"], ["--beam=2"]):
        assert caption.main([f"--workdir={whole}", str(photos / "0.png"), "--json", *how]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        told = json.loads(line)["captions"]
        assert len(told) == (2 if how == ["--samples=2"] else 1)
        # Five words at most and their end, each about as likely as any of a handful.
        assert all(-20 < row["log_prob"] < 0 for row in told)
    # Told from another photo it speaks by a beam, as it would by --beam=3.
    pair = [f"--workdir={whole}", str(photos / "0.png"), "--distractor", str(photos / "3.png")]
    said = []
    for how in ([], ["--beam=3"]):
        assert caption.main([*pair, *how]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""
