"""Does the report show what each stage says, whose it is, and what is known of it?"""

import re

import numpy as np
import pytest

from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.report import marked, variants
from capjax.run import Recipe
from capjax.training.report import chart_groups, charted, write_run_report
from capjax.training.stage_captions import marked_captions, stage_table
from capjax.training.stage_measures import stage_lines

IDS = tuple("abcd")
SPLIT = Split(
    IDS,
    tuple((f"people say {i}", "<b>they</b> say") for i in IDS),
    lambda n: np.full((4, 5, 3), n, np.uint8),
)
HOSTILE = '<img src=x onerror="a()"> & <b>'


def said(stage: str, method: str, **scores: float) -> Evaluation:
    """What an evaluation holds, with captions that name the stage and the image."""
    held = {"references": "1 of 2", "unavailable": {}, "cider_d": 0.5}
    about = {
        "decoding": {"method": method, "max_len": 9},
        "step": 3,
        "n_images": 4,
        "n_samples": 1,
        "references": "all 2",
        "df": {"source": "these references", "n": 4},
        "tokenizer": "ptb",
        "unavailable": {"meteor": "no Java"},
        "n-1": held,
        "n-1 human": held,
    }
    rows = [
        {"id": i, "caption": f"{stage} of {i}", "references": list(SPLIT.captions[n])}
        | {"cider_d": n / 8, "true": n % 2 == 0, "identifies": n == 0}
        for n, i in enumerate(IDS)
    ]
    return Evaluation(about | scores, rows)


def text(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def page(tmp_path, found, stages=None, images=3, metrics=(), split=SPLIT) -> str:
    data = {"name": "scenes", "encoder": "pixels64", "max_len": 5}
    speaker = {"cell": "nic", "dim": 8, "noise": 0, "dropout": 0.0, "decoding": {}}
    recipe = Recipe.of({"recipe": "gan", "data": data, "report_images": images, **speaker})
    path = tmp_path / "report.html"
    stages = stages or {"mle": found}
    write_run_report(path, recipe, list(metrics), {"val": found}, split, stages)
    return path.read_text("utf-8")


def test_stages_stand_beside_each_other_with_what_was_measured_of_any():
    stages = {
        "mle": said("mle", "beam", cider_d=1.5, distinct_words=7),
        "adversarial": said("adversarial", "sample", cider_d=1.25, distinct_words=9, e_gan=0.5),
    }
    tested = said("adversarial", "sample", cider_d=1.0, distinct_captions=3, true=0.375)
    shown = text(stage_table(stages, tested))
    assert shown == (
        "after mle after adversarial after adversarial, test split"
        " spoken by beam sample sample"
        " quality: CIDEr-D 1.500 1.250 1.000"
        " quality: r by its own evaluator \u2013 0.500 \u2013"
        " truth: true captions \u2013 \u2013 37.5 %"
        " diversity: different captions \u2013 \u2013 75.0 %"
        " diversity: distinct words 7 9 \u2013"
    )
    lines = stage_lines({name: stage.scores for name, stage in stages.items()})
    assert [line.split() for line in lines][-1] == ["diversity:", "distinct", "words", "7", "9"]
    assert len({len(line) for line in lines}) == 1


def test_each_image_has_the_caption_of_every_stage_with_its_own_marks(tmp_path):
    # An evaluation read back from files may have its rows in any order.
    mle = said("mle", "beam")
    stages = {"mle": mle._replace(rows=mle.rows[::-1]), "gan": said("gan", "sample")}
    made = page(tmp_path, stages["gan"], stages)
    articles = [text(part) for part in made.split("<article")[1:]]
    assert len(articles) == 3 + 3  # it opens with three, and they are all that are shown
    for article, n in zip(articles, (0, 1, 3) * 2, strict=True):
        true, own = ("\u2713" if yes else "\u2717" for yes in (n % 2 == 0, n == 0))
        marks = f"true {true} identifies {own} cider_d {n / 8:.3f}"
        wanted = [
            *(f"after {stage} {stage} of {IDS[n]} {marks}" for stage in stages),
            f"people people say {IDS[n]} &lt;b&gt;they&lt;/b&gt; say",
        ]
        assert " ".join(wanted) in article
    assert 'aria-label="yes"' in made


def test_a_report_opens_with_what_one_wants_to_know(tmp_path):
    made = page(tmp_path, said("mle", "beam", distinct_words=7))
    titles = re.findall("<h2>([^<]*)", made)
    assert titles == [
        "What it says of three images",
        "What its captions are worth",
        "Curves",
        "Captions",
        "All scores",
        "Configuration",
    ]
    assert "marked" not in text(made.partition("</style>")[2])  # nobody knows what is true


def test_words_that_make_a_caption_false_are_marked(tmp_path):
    found = said("mle", "beam")
    circle = {"shape": "circle", "colour": "red", "size": "small", "texture": "plain"}
    scene = {"background": "grey", "objects": [circle | {"x": 30, "y": 30}]}
    split = SPLIT._replace(truth=({"scene": scene, "distractors": []},) * 4)
    told = ["a red circle", "a blue circle on white", "<unk> circle", "a red star"]
    for row, caption in zip(found.rows, told, strict=True):
        row["caption"] = caption
    found.rows[0]["many"] = ["a red circle", "a blue circle"]
    made = page(tmp_path, found, images=4, split=split)
    marked_words = re.findall('<span class="false">([^<]*)', made)
    # The note's own, of the three that it opens with, of all four, of the many captions of one.
    assert marked_words == ["so", "blue", "white", "star", "blue", "white", "star", "blue"]
    assert (
        text(made).count("a sentence about a scene \u2717") == 1
    )  # of an image that is not among the three
    assert "<b>" + '<span class="false">blue' in made


def test_a_paragraph_is_shown_as_one_with_what_is_known_of_its_sentences(tmp_path):
    found = said("gan", "sample", mean_sentences=2.0, true_sentences=0.5, covered=0.25)
    circle = {"shape": "circle", "colour": "red", "size": "small", "texture": "plain"}
    scene = {"background": "grey", "objects": [circle | {"x": 30, "y": 30}]}
    people = (("a red circle. it is small.",),) * 4
    split = SPLIT._replace(truth=({"scene": scene, "distractors": []},) * 4, captions=people)
    for row in found.rows:
        row |= {"caption": "a red circle. a blue circle on white. <unk> circle."}
        row |= {"true_sentences": 1 / 3, "covered": 1.0, "contradictions": 0}
        row |= {"repeated_trigrams": 0.25, "many": [row["caption"], "a red circle."]}
    made = page(tmp_path, found, images=4, split=split)
    marks = "true_sentences 0.333 covered 1.000 contradictions 0 repeated_trigrams 0.250"
    shown = "A red circle. A blue (false) circle on white (false) . &lt;unk&gt; circle. (false)"
    assert text(made).count(shown.replace("white (false) .", "white. (false)")) == 3 + 4 + 4
    assert text(made).count(marks) == 3 + 4
    assert text(made).count("people A red circle. It is small.") == 3 + 4
    assert "a sentence about a scene" not in made
    assert "truth: true sentences 50.0 % coverage: objects spoken of truly 25.0 %" in text(made)
    assert "One image, ten" not in made
    assert "One image, 2 paragraphs" in made


def test_several_captions_of_a_stage_have_a_mark_each():
    row = {"captions": ["one", "two"], "true": [True, False], "cider_d": [1.0, 0.0]}
    assert [text(caption) for caption in marked_captions(row)] == [
        "one true \u2713 cider_d 1.000",
        "two true \u2717 cider_d 0.000",
    ]
    assert marked_captions({"caption": HOSTILE}) == [marked(HOSTILE, {})]


def test_captions_of_one_image_are_counted_and_their_differences_stand_out():
    drawn = ["a red dog"] * 3 + ["a blue dog", "a red dog runs"]
    assert variants(drawn) == [
        '<span class="shared">a</span> red <span class="shared">dog</span>'
        ' <span class="times">\u00d73</span>',
        '<span class="shared">a</span> <b>blue</b> <span class="shared">dog</span>',
        '<span class="shared">a</span> red <span class="shared">dog</span> <b>runs</b>',
    ]
    for texts in (drawn, [HOSTILE, "b", ""]):
        # Whatever is drawn, every word is there, and as often as it was said.
        words = []
        for line in variants(texts):
            number = int((re.findall("\u00d7(\\d+)<", line) or ["1"])[0])
            plain = text(line.partition(' <span class="times">')[0])
            words += number * (plain.split() if plain != "(no words)" else [])
        escaped = [t.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for t in texts]
        said = " ".join(escaped).replace('"', "&quot;").split()
        assert sorted(words) == sorted(said)


def test_many_captions_are_shown_of_the_images_that_have_them(tmp_path):
    found = said("gan", "sample")
    for row in found.rows[1:3]:
        row["many"] = [f"{row['id']} one"] * 9 + [f"{row['id']} two"]
    for stages in (None, {"mle": said("mle", "beam"), "gan": found}):
        _, _, many = page(tmp_path, found, stages).partition("One image, ten captions")
        assert many.count("<article") == 2
        assert "b 2 different of 10 b one \u00d79 b two" in text(many)
        assert "c 2 different of 10 c one \u00d79 c two" in text(many)


def test_what_belongs_together_is_drawn_together():
    rows = [
        {"step": 1, "stage": "mle", "nll": 2.0, "loss": 2.0, "gradient_norm": 1.0},
        {"step": 2, "stage": "evaluator", "loss": 1.0, "r_real": 0.5, "gradient_norm": 1.0},
        {"step": 3, "stage": "evaluator", "val_evaluator_loss": 1.0, "val_r_real": 0.5},
        {"step": 4, "stage": "adversarial", "loss": 0.1, "evaluator_loss": 1.0, "r_real": 0.5},
        {"step": 4, "stage": "adversarial", "r_generated": 0.5, "value_last": 0.5, "reward": 0.5},
        {"step": 4, "stage": "adversarial", "unended": 0.0, "busy": 0.9, "val_cider_d": 1.0},
    ]
    groups = dict(chart_groups([charted(row) for row in rows]))
    assert [*groups.values()] == [
        ["nll"],
        ["evaluator_loss", "val_evaluator_loss"],  # of both stages
        ["r_real", "r_generated"],
        ["val_r_real"],
        ["policy_loss"],
        ["value_last", "reward"],
        ["unended"],
        ["val_cider_d"],
        ["gradient_norm", "evaluator_gradient_norm"],
        ["busy"],
    ]
    drawn = [row for row in map(charted, rows) if "evaluator_loss" in row]
    assert [row["stage"] for row in drawn] == ["evaluator", "adversarial"]


@pytest.mark.parametrize("images", [0, 4, 99])
def test_as_many_images_are_shown_as_were_asked_for_and_are_there(images, tmp_path):
    found = said("gan", "sample")
    for row in found.rows:
        row["many"] = ["one"] * 10
    made = page(tmp_path, found, {"mle": said("mle", "beam"), "gan": found}, images)
    captions, _, many = made.partition("<h2>Captions")[2].partition("One image, ten captions")
    assert captions.count("<article") == min(images, 4)
    assert many.count("<article") == min(images, 4)
