"""What is told of captions of generated images is true of them; of paragraphs by sentence."""

import pytest

from capjax.data.split import Split
from capjax.evaluation.truth import truth_of

RED = {"shape": "circle", "colour": "red", "size": "small", "texture": "plain", "x": 12, "y": 30}
BLUE = RED | {"shape": "square", "colour": "blue", "x": 50}
SCENE = {"background": "grey", "objects": [RED, BLUE]}
TWIN = {"background": "grey", "objects": [RED | {"colour": "green"}, BLUE]}
TRUTH = ({"scene": SCENE, "distractors": [TWIN]},) * 4
SPLIT = Split(("a", "b", "c", "d"), (("people",),) * 4, lambda i: None, TRUTH)
SAID = [
    "a red circle. a blue square on grey.",
    "a red circle. a green star. three shapes. two shapes.",
    "a square. a blue square.",
    "",
]
EXPECTED = {  # of each paragraph
    "true": [True, False, True, False],
    "identifies": [True, False, False, False],
    "true_sentences": [1, 0.5, 1, 0],
    "covered": [1, 0.5, 0.5, 0],
    "contradictions": [0, 1, 0, 0],
}


@pytest.mark.parametrize("paragraphs", [True, False])
def test_paragraphs_are_judged_by_sentence_and_captions_as_a_whole(paragraphs):
    rows = [{"caption": text} for text in SAID]
    scores = truth_of(SPLIT, rows, paragraphs=paragraphs)
    names = list(EXPECTED)[: 5 if paragraphs else 2]
    assert list(scores) == names
    for name in names:
        assert [row[name] for row in rows] == EXPECTED[name]
        assert scores[name] == pytest.approx(sum(EXPECTED[name]) / 4)


def test_several_paragraphs_of_an_image_are_judged_each():
    rows = [{"captions": SAID} for _ in SAID]
    scores = truth_of(SPLIT, rows, paragraphs=True)
    for name, values in EXPECTED.items():
        assert all(row[name] == values for row in rows)
        assert scores[name] == pytest.approx(sum(values) / 4)
