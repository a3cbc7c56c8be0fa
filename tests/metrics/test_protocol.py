"""With and without a reference held out: what is drawn, what is scored, and that it is told."""

import os
import random

import pytest

from capjax.errors import InputError
from capjax.metrics.official import METRICS, QUICK, score_captions
from capjax.metrics.protocol import hold_out, score_both, score_protocols

WORDS = ["a", "the", "dog", "cat", "bird", "runs", "sits", "on", "grass", "table"]


def captions(images: int, count: int, seed: int = 0) -> dict[int, list[str]]:
    drawn = random.Random(seed)
    return {i: [" ".join(drawn.choices(WORDS, k=8)) for _ in range(count)] for i in range(images)}


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def test_one_reference_is_held_out_and_the_others_stay_in_order():
    references = captions(50, 5)
    human, remaining = hold_out(references)
    assert list(human) == list(remaining) == list(references)
    drawn = []
    for i, texts in references.items():
        (held,) = human[i]
        drawn.append(texts.index(held))
        assert remaining[i] == texts[: drawn[-1]] + texts[drawn[-1] + 1 :]
    assert set(drawn) == set(range(5))
    assert hold_out(references) == (human, remaining)


def test_of_equal_references_only_one_is_held_out():
    human, remaining = hold_out({1: ["a dog", "a dog", "a dog"]})
    assert (human, remaining) == ({1: ["a dog"]}, {1: ["a dog", "a dog"]})


def test_what_is_drawn_depends_on_seed_and_id_alone():
    references = captions(50, 5)
    human, _ = hold_out(references)
    some = dict(random.Random(1).sample(sorted(references.items()), 20))
    assert hold_out(some)[0] == {i: human[i] for i in some}
    text = hold_out({str(i): texts for i, texts in references.items()})[0]
    assert text == {str(i): caption for i, caption in human.items()}
    assert hold_out(references, seed=1)[0] != human


def test_every_place_is_drawn_as_often():
    references = {i: list("abcd") for i in range(4_000)}
    human, _ = hold_out(references)
    for letter in "abcd":
        assert sum(caption == [letter] for caption in human.values()) == pytest.approx(1_000, 0.1)


def test_an_image_with_one_reference_is_named():
    with pytest.raises(InputError, match="image b has no second reference"):
        hold_out({"a": ["x", "y"], "b": ["x"]})


@pytest.mark.usefixtures("no_java")
def test_each_protocol_is_a_scoring_of_its_own_and_says_so():
    references = captions(30, 5)
    candidates = captions(30, 1, seed=1)
    human, remaining = hold_out(references, seed=3)
    both = score_both(candidates, references, seed=3, metrics=QUICK)
    said = {name: (r["protocol"], r["system"], r["references"]) for name, r in both.items()}
    rest = "4 of 5, one held out (seed 3)"
    assert said == {
        "all": ("all", "candidates", "all 5"),
        "n-1": ("n-1", "candidates", rest),
        "n-1 human": ("n-1 human", "human", rest),
    }
    for name, (captioned, truth) in {
        "all": (candidates, references),
        "n-1": (candidates, remaining),
        "n-1 human": (human, remaining),
    }.items():
        assert both[name].items() >= score_captions(captioned, truth, metrics=QUICK).items()
    assert both["all"]["bleu_4"] > both["n-1"]["bleu_4"]  # fewer references, lower scores


@pytest.mark.usefixtures("no_java")
def test_samples_are_scored_by_every_protocol_and_ragged_references_are_told():
    references = captions(10, 5)
    references[3] += ["a dog"]
    references[4] = references[4][:3]
    found = score_protocols(captions(10, 2, seed=1), references, metrics=["bleu"])
    assert [protocol.scores.n_samples for protocol in found] == [2, 2, 1]
    assert [protocol.references for protocol in found] == [
        "all 3 to 6",
        *["2 to 5 of 3 to 6, one held out (seed 0)"] * 2,
    ]
    assert [protocol.scores.each["bleu_1"].shape for protocol in found] == [(10, 2), (10, 2), (10,)]


def test_words_are_split_once_and_meteor_is_started_once_for_all(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text(
        f"#!/bin/sh\necho $* >> {tmp_path}/calls\n"
        'case "$*" in *-version*) echo \'version "17"\' >&2; exit;; *PTB*) exec cat;; esac\n'
        "while read -r line; do case $line in\n"
        f"  SCORE*) echo {'1 ' * 23};;\n"
        "  *) for _ in 1 2 3 4; do echo 0.5; done;; esac; done\n"
    )
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    both = score_both(captions(3, 1, seed=1), captions(3, 2))
    assert [result["meteor"] for result in both.values()] == [0.5] * 3
    for result in both.values():
        assert {f"{m}_1" if m == "bleu" else m for m in METRICS} <= set(result)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum("PTBTokenizer" in call for call in calls) == 1
    assert sum("meteor" in call for call in calls) == 1
