"""The official scores are the library's own, whatever is on the PATH and in the captions."""

import contextlib
import io
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from capjax.data import tokenize
from capjax.errors import InputError
from capjax.metrics import official
from capjax.metrics.official import METRICS, QUICK, score_captions, score_each

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
    scores = score_captions(CANDIDATES, REFERENCES, metrics=QUICK)
    for name, score in the_usual_way(split(REFERENCES), split(CANDIDATES)).items():
        assert scores[name] == pytest.approx(score, abs=1e-12)
        assert type(scores[name]) is float
    assert scores["n_images"] == 4
    assert scores["tokenizer"] == "capjax (python)"
    assert list(scores["unavailable"]) == ["ptb (java)"]
    assert "no java on the PATH; install Java 8" in scores["unavailable"]["ptb (java)"]
    assert scores["df"] == {"source": "these references", "n": 4}
    assert scores["versions"]["pycocoevalcap"] == "1.2"
    assert scores["versions"]["java"] is None


@needs_java
def test_with_java_scores_are_those_of_the_library_and_its_tokenizer():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def java(captions):
        rows = {i: [{"caption": text} for text in texts] for i, texts in captions.items()}
        return PTBTokenizer().tokenize(rows)

    scores = score_captions(CANDIDATES, REFERENCES, metrics=QUICK)
    assert scores["tokenizer"] == "ptb (java)"
    assert scores["versions"]["java"][0].isdigit()
    assert scores["unavailable"] == {}
    for name, score in the_usual_way(java(REFERENCES), java(CANDIDATES)).items():
        assert scores[name] == pytest.approx(score, abs=1e-12)


@needs_java
def test_paragraphs_are_scored_as_the_library_does_without_full_stops():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    truth = {
        1: ["A man stands at St. James street. He's in a red T-shirt.It is hot."],
        2: ["There are two dogs, e.g. a pug. Is the sky blue? It is!", "Dogs... lots of dogs."],
        3: ["A clock shows 2.30 p.m. on the wall. The wall is made of brick."],
    }
    said = {
        1: ["a man in a red t-shirt. he is on st. james street."],
        2: ["two dogs. two dogs. the sky is blue."],
        3: ["a clock on the wall. it shows 2.30 p.m. the end."],
    }
    rows = [
        {i: [{"caption": text} for text in texts] for i, texts in captions.items()}
        for captions in (truth, said)
    ]
    words = [PTBTokenizer().tokenize(captions) for captions in rows]
    assert not any("." in text.split() for one in words for texts in one.values() for text in texts)
    scores = score_captions(said, truth, metrics=QUICK)
    assert scores["tokenizer"] == "ptb (java)"
    for name, score in the_usual_way(*words).items():
        assert scores[name] == pytest.approx(score, abs=1e-12)


@needs_java
def test_line_ends_inside_captions_shift_nothing():
    ends = zip(CANDIDATES, ["\u2028", "\r\n", "\x85", "\x0c"], strict=True)
    odd = {i: [CANDIDATES[i][0].replace(" ", end)] for i, end in ends}
    plain = score_captions(CANDIDATES, REFERENCES, metrics=QUICK)
    assert score_captions(odd, REFERENCES, metrics=QUICK) == plain


@pytest.mark.usefixtures("no_java")
def test_perfect_captions_score_one_and_empty_ones_nothing():
    same = {i: texts[:1] for i, texts in REFERENCES.items() if i != "c"}
    truth = {i: texts[:1] for i, texts in same.items()}
    scores = score_captions(same, truth, metrics=QUICK)
    assert scores["bleu_4"] == pytest.approx(1)
    assert scores["rouge_l"] == pytest.approx(1)
    assert scores["cider_d"] == pytest.approx(10)
    nothing = score_captions({i: [""] for i in truth}, truth, metrics=QUICK)
    assert scores["n_wordless"] == 0
    assert nothing["n_wordless"] == 3
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
        score_captions(CANDIDATES, REFERENCES)  # and METEOR and SPICE find no Java
    assert printed.getvalue() == ""


@pytest.mark.usefixtures("no_java")
def test_what_cannot_be_computed_is_left_out_with_its_reason():
    one = score_captions({1: ["a dog"]}, {1: ["a dog"]}, metrics=["cider_d", "bleu", "spice"])
    assert one["cider_d"] is None
    assert one["spice"] is None
    assert "one image" in one["unavailable"]["cider_d"]
    assert "no java" in one["unavailable"]["spice"]
    assert "rouge_l" not in one
    assert one["bleu_2"] == pytest.approx(1)
    wordless = score_captions({1: ["a dog"], 2: ["a"]}, {1: ["."], 2: [""]}, metrics=QUICK)
    assert "no reference holds a word" in wordless["unavailable"]["cider_d"]


@pytest.mark.usefixtures("no_java")
def test_by_default_captions_get_all_metrics_and_rows_get_the_quick_ones():
    scores = score_captions(CANDIDATES, REFERENCES)
    for metric in METRICS:
        assert (metric in scores) or (f"{metric}_4" in scores)
    assert scores["meteor"] is None
    assert "no java" in scores["unavailable"]["meteor"]
    assert "meteor" not in score_each(CANDIDATES, REFERENCES).names


@pytest.mark.usefixtures("no_java")
def test_samples_are_scored_in_calls_of_their_own():
    drawn = random.Random(0)
    said = [text for texts in (*CANDIDATES.values(), *REFERENCES.values()) for text in texts]
    samples = {i: drawn.sample(said, 3) for i in CANDIDATES}
    together = score_each(samples, REFERENCES)
    alone = [
        score_each({i: [texts[s]] for i, texts in samples.items()}, REFERENCES) for s in range(3)
    ]
    assert (together.n_samples, alone[0].n_samples) == (3, 1)
    assert together.df == alone[0].df == {"source": "these references", "n": 4}
    for name in together.total:
        assert together.total[name] == pytest.approx(np.mean([one.total[name] for one in alone]))
        assert together.each[name].dtype == np.float64
        np.testing.assert_array_equal(
            together.each[name], np.stack([one.each[name] for one in alone], 1)
        )


def test_rouge_is_that_of_the_library_on_captions_of_any_kind():
    from pycocoevalcap.rouge.rouge import Rouge

    from capjax.metrics.word_scores import rouge_l_scores

    drawn = random.Random(0)
    texts = [" ".join(drawn.choices("abc", k=drawn.randrange(9))) for _ in range(400)]
    texts += ["", "", "a\xa0b c", "a"]
    truth = [drawn.choices(texts, k=drawn.randrange(1, 6)) for _ in texts]
    total, each = rouge_l_scores([texts], truth)[0]
    rows = [[[text], others] for text, others in zip(texts, truth, strict=True)]
    usual = [Rouge().calc_score(*row) for row in rows]
    np.testing.assert_allclose(each["rouge_l"], usual, atol=1e-12)
    assert total["rouge_l"] == pytest.approx(np.mean(usual))


def test_cider_is_that_of_the_library_on_captions_of_any_kind():
    from pycocoevalcap.cider.cider import Cider

    from capjax.metrics.word_scores import cider_d_scores

    drawn = random.Random(0)
    words = [*"aaabbcde", *(f"w{n}" for n in range(30))]
    texts = [" ".join(drawn.choices(words, k=drawn.randrange(14))) for _ in range(400)]
    texts += ["", "", "a\xa0b c", "a", "a a a a a a"]
    truth = [drawn.choices(texts, k=drawn.randrange(1, 6)) for _ in texts]
    lists = [texts, texts[::-1]]
    rows = dict(enumerate(truth))
    for captions, (total, each) in zip(lists, cider_d_scores(lists, truth), strict=True):
        usual, one = Cider().compute_score(rows, {n: [text] for n, text in enumerate(captions)})
        np.testing.assert_allclose(each["cider_d"], one, rtol=0, atol=1e-12)
        assert total["cider_d"] == pytest.approx(usual, abs=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("no_java")
def test_a_caption_of_a_megabyte_is_scored_in_seconds():
    long = "a dog on the grass " * 55_000
    started = time.monotonic()
    scores = score_captions({1: [long], 2: ["a cat"]}, {1: ["a dog", long], 2: ["the cat"]})
    assert time.monotonic() - started < 60
    assert scores["rouge_l"] > 0.5
    assert scores["bleu_4"] == pytest.approx(1, abs=1e-3)


@needs_java
def test_the_package_of_the_library_is_left_as_it_was():
    import pycocoevalcap

    folder = Path(next(iter(pycocoevalcap.__path__)))

    def files():
        return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}

    before = files()
    score_captions(CANDIDATES, REFERENCES, metrics=[*QUICK, "spice"])
    assert files() == before


@pytest.mark.parametrize(
    ("candidates", "references", "metrics", "said"),
    [
        ({}, {}, None, "no candidate captions"),
        ({1: ["a"]}, {2: ["a"]}, None, "image 1 has a candidate but no references"),
        ({1: ["a"]}, {1: ["a"], 2: ["b"]}, None, "image 2 has references but no candidate"),
        (
            {1: ["a", "b"], 2: ["a"]},
            {1: ["a"], 2: ["a"]},
            None,
            "image 2 has 1 captions as its candidates and image 1 has 2",
        ),
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
    assert scores["meteor"] is None
    assert "no runtime" in scores["unavailable"]["meteor"]
    assert scores["tokenizer"] == official.PYTHON
    assert "no runtime" in scores["unavailable"][official.JAVA]
