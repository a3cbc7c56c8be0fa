"""A run of paragraphs, from its recipe to what it says of a photo: paragraphs all the way."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import train_here

from capjax import caption, evaluate
from capjax.data import scenes
from capjax.data.sentences import sentences

pytestmark = pytest.mark.slow
SMALL = {"dim": 64, "mle.epochs": 20.0, "mle.warmup": 5, "mle.batch": 16, "mle.average": 0.0}
SMALL |= {"mle.learning_rate": 3e-3, "log_every": 5, "report_images": 2}
MEASURED = ("true_sentences", "covered", "contradictions", "repeated_trigrams")


@pytest.fixture(scope="module")
def run(tmp_path_factory, caches) -> Path:
    path = Path(__file__).parents[2] / "configs" / "mle.py"
    config = runpy.run_path(str(path))["get_config"]("scenes-paragraphs")
    config.update_from_flattened_dict(SMALL)
    workdir = tmp_path_factory.mktemp("paragraphs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        few = {"train": 96, "val": 12, "test": 6}
        patch.setattr("capjax.data.scenes.builder.SIZES", few)
        train_here(config.to_dict(), workdir)
        yield workdir


def test_what_is_measured_is_of_the_paragraphs_that_were_spoken(run, tmp_path):
    assert evaluate.main([f"--workdir={run}", "--quick", f"--out={tmp_path}", "--samples=2"]) == 0
    for folder, mark in ((run, ""), (tmp_path, "-val-sample-x2")):
        scores = json.loads((folder / f"scores{mark}.json").read_text())
        rows = json.loads((folder / f"captions{mark}.json").read_text())
        for name in MEASURED:
            assert scores[name] == pytest.approx(np.mean([row[name] for row in rows]))
        texts = [t for row in rows for t in row.get("captions", [row.get("caption")])]
        assert scores["mean_sentences"] == np.mean([len(sentences(text)) for text in texts])
        assert any(len(sentences(text)) > 1 for text in texts)
        assert ("self_cider" in scores) == bool(mark)


def test_the_log_and_the_report_tell_of_sentences(run):
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(any(f"val_{name}" in row for row in logged) for name in MEASURED)
    report = (run / "report.html").read_text()
    assert "truth: true sentences" in report
    assert '<span class="paragraph">' in report


def test_a_photo_is_captioned_a_sentence_a_line(run, tmp_path, capsys):
    photo = tmp_path / "scene.png"
    Image.fromarray(scenes.draw(scenes.random_scene(np.random.default_rng(0)))).save(photo)
    printed = []
    for more in ([], ["--paragraph"], ["--paragraph", "--json"]):
        assert caption.main([f"--workdir={run}", str(photo), *more]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    (text,), (name, *parts), (row,) = printed
    assert name == str(photo)
    assert sentences(text)
    assert [part.strip() for part in parts] == sentences(text)
    (said,) = json.loads(row)["captions"]
    assert said["caption"] == text
    assert said["sentences"] == sentences(text)
