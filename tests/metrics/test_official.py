"""The official scores are the library's own, whatever is on the PATH and in the captions."""

import contextlib
import io
import shutil

import numpy as np
import pytest

from capjax.data import tokenize
from capjax.errors import InputError
from capjax.metrics import official
from capjax.metrics.official import score_captions, score_each

REFERENCES = {
    "a": ["A man's dog runs on the grass .", "a brown dog is running, fast!", "The dog runs."],
    "b": ["Two women don't sit at a table", "Women at a table (outside) ."],
    "c": ["A red bus parks on St. James street.", "the bus is parked"],
    7: ["a t.v. on a table", "An old tv", "a small T.V. on a wooden table"],
}
CANDIDATES = {
    "c": ["a bus parked on the street."],
    "a": ["A man's dog runs on grass"],
    "b": ["women at a table"],
    7: ["a t.v. on a wooden table"],
}
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs java")


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def the_usual_way(truth, said) -> dict[str, float]:
    """As pycocoevalcap's own example scores captions that have been split."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, _ = Bleu(4).compute_score(truth, said, verbose=0)
    scores = {f"bleu_{n + 1}": bleu[n] for n in range(4)}
    scores["rouge_l"], _ = Rouge().compute_score(truth, said)
    scores["cider_d"], _ = Cider().compute_score(truth, said)
    return scores


def split(captions):
    return {i: [" ".join(tokenize(text)) for text in texts] for i, texts in captions.items()}


@pytest.mark.usefixtures("no_java")
def test_scores_are_those_of_the_library():
    scores = score_captions(CANDIDATES, REFERENCES)
    for name, score in the_usual_way(split(REFERENCES), split(CANDIDATES)).items():
        assert scores[name] == pytest.approx(score, abs=1e-12)
        assert type(scores[name]) is float
    assert scores["n_images"] == 4
    assert scores["tokenizer"] == "capjax (python)"
    assert scores["unavailable"] == {"ptb (java)": "there is no java on the PATH"}


@needs_java
def test_with_java_scores_are_those_of_the_library_and_its_tokenizer():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def java(captions):
        rows = {i: [{"caption": text} for text in texts] for i, texts in captions.items()}
        return PTBTokenizer().tokenize(rows)

    scores = score_captions(CANDIDATES, REFERENCES)
    assert scores["tokenizer"] == "ptb (java)"
    assert scores["unavailable"] == {}
    for name, score in the_usual_way(java(REFERENCES), java(CANDIDATES)).items():
        assert scores[name] == pytest.approx(score, abs=1e-12)


@needs_java
def test_line_ends_inside_captions_shift_nothing():
    ends = zip(CANDIDATES, ["\u2028", "\r\n", "\x85", "\x0c"], strict=True)
    odd = {i: [CANDIDATES[i][0].replace(" ", end)] for i, end in ends}
    assert score_captions(odd, REFERENCES) == score_captions(CANDIDATES, REFERENCES)


@pytest.mark.usefixtures("no_java")
def test_perfect_captions_score_one_and_empty_ones_nothing():
    same = {i: texts[:1] for i, texts in REFERENCES.items() if i != "c"}
    truth = {i: texts[:1] for i, texts in same.items()}
    scores = score_captions(same, truth)
    assert scores["bleu_4"] == pytest.approx(1)
    assert scores["rouge_l"] == pytest.approx(1)
    assert scores["cider_d"] == pytest.approx(10)
    nothing = score_captions({i: [""] for i in truth}, truth)
    assert nothing["bleu_1"] < 1e-6
    assert nothing["rouge_l"] == nothing["cider_d"] == 0


@pytest.mark.usefixtures("no_java")
def test_the_whole_is_the_mean_of_each_and_order_does_not_matter():
    scores = score_each(CANDIDATES, REFERENCES)
    assert scores.ids == tuple(CANDIDATES)
    for name in ("rouge_l", "cider_d"):
        assert scores.total[name] == pytest.approx(np.mean(scores.each[name]))
    turned = score_each(dict(reversed(CANDIDATES.items())), REFERENCES)
    np.testing.assert_allclose(turned.each["cider_d"][::-1], scores.each["cider_d"])
    assert scores.each["bleu_4"].shape == (4,)


@pytest.mark.usefixtures("no_java")
def test_nothing_is_printed():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        score_captions(CANDIDATES, REFERENCES)
    assert printed.getvalue() == ""


@pytest.mark.usefixtures("no_java")
def test_what_cannot_be_computed_is_left_out_with_its_reason():
    one = score_captions({1: ["a dog"]}, {1: ["a dog"]}, metrics=["cider_d", "bleu", "spice"])
    assert "cider_d" not in one
    assert "one image" in one["unavailable"]["cider_d"]
    assert "CoreNLP" in one["unavailable"]["spice"]
    assert "rouge_l" not in one
    assert one["bleu_2"] == pytest.approx(1)
    wordless = score_captions({1: ["a dog"], 2: ["a"]}, {1: ["."], 2: [""]})
    assert wordless["unavailable"]["cider_d"] == "no reference holds a word"


@pytest.mark.parametrize(
    ("candidates", "references", "metrics", "said"),
    [
        ({}, {}, None, "no candidate captions"),
        ({1: ["a"]}, {2: ["a"]}, None, "image 1 has a candidate but no references"),
        ({1: ["a"]}, {1: ["a"], 2: ["b"]}, None, "image 2 has references but no candidate"),
        ({1: ["a", "b"]}, {1: ["a"]}, None, "image 1 has 2 captions"),
        ({1: []}, {1: ["a"]}, None, "image 1 has 0 captions"),
        ({1: "a"}, {1: ["a"]}, None, "image 1 has a text"),
        ({1: ["a"]}, {1: []}, None, "at least one reference"),
        ({1: ["a"]}, {1: "a"}, None, "at least one reference"),
        ({1: [None]}, {1: ["a"]}, None, "not text"),
        ({1: ["a"]}, {1: ["a"]}, ["cider"], "no metric 'cider'"),
    ],
)
def test_bad_input_is_one_sentence(candidates, references, metrics, said):
    with pytest.raises(InputError) as error:
        score_captions(candidates, references, metrics=metrics)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_java_that_fails_is_told_of(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho no runtime >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    scores = score_captions(CANDIDATES, REFERENCES)
    assert scores["tokenizer"] == official.PYTHON
    assert "no runtime" in scores["unavailable"][official.JAVA]
