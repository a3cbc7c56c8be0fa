"""Captions of photos as lines and as JSON: of paragraphs a line a sentence, if it is asked for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import capjax
from capjax.errors import InputError
from capjax.evaluation.photo_lines import check_paragraphs, lines, row

PHOTO = Path("b/1.jpg")
SAID = [("a dog runs. mr. x is on the left.", -3.5), ("", -9.0)]


def test_a_caption_is_a_line_and_of_a_paragraph_each_sentence_is():
    assert lines(PHOTO, SAID, False, False) == [text for text, _ in SAID]
    assert lines(PHOTO, SAID, True, False) == [f"b/1.jpg\t{text}" for text, _ in SAID]
    for several in (False, True):
        assert lines(PHOTO, SAID, several, True) == [
            "b/1.jpg",
            "  a dog runs.",
            "  mr. x is on the left.",
            "",
            "  (no words)",
        ]


def test_json_tells_the_sentences_beside_the_caption_where_they_are_asked_for():
    plain, parted = (row(PHOTO, SAID, paragraph) for paragraph in (False, True))
    assert plain == {
        "photo": "b/1.jpg",
        "captions": [{"caption": text, "log_prob": score} for text, score in SAID],
    }
    parts = [["a dog runs.", "mr. x is on the left."], []]
    for one, said in zip(parted["captions"], parts, strict=True):
        assert one.pop("sentences") == said
    assert parted == plain


def test_a_run_of_single_captions_speaks_no_paragraphs():
    for sentences in (True, False):
        words = capjax.Vocabulary.build(["a dog"], 1, sentences=sentences)
        run = SimpleNamespace(vocabulary=words)
        check_paragraphs(run, "runs/x", False)
        if sentences:
            check_paragraphs(run, "runs/x", True)
        else:
            with pytest.raises(InputError, match=r"--paragraph: the run in runs/x speaks single"):
                check_paragraphs(run, "runs/x", True)
