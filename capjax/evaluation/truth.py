"""Are captions of generated images true? Of paragraphs: which sentences, and of what is said."""

from typing import Any

import numpy as np

from capjax.data import scenes
from capjax.data.scenes.drawing import Scene
from capjax.data.split import Split


def truth_of(split: Split, rows: list[dict[str, Any]], *, paragraphs: bool) -> dict[str, float]:
    """Marks each caption of generated images, an image a row; their means over captions.

    - `true`: whether it states something, and nothing false.
    - `identifies`: whether it is true of its image and of none of the image's distractors, where it
      has some.

    Of paragraphs, which are true where all of their sentences are, also

    - `true_sentences`: the share of its sentences that are true; 0 of none.
    - `covered`: the share of the image's objects that some true sentence speaks of without doubt.
    - `contradictions`: pairs of its sentences that cannot both be true, whatever the image.
    """
    assert split.truth is not None
    for row, truth in zip(rows, split.truth, strict=True):
        said = row.get("captions") or [row["caption"]]
        scene, distractors = truth["scene"], truth["distractors"]
        marks: dict[str, list[Any]] = {"true": [scenes.holds(text, scene) for text in said]}
        if distractors:
            marks["identifies"] = [scenes.identifies(text, scene, distractors) for text in said]
        if paragraphs:
            marks["true_sentences"] = [_true_sentences(text, scene) for text in said]
            marks["covered"] = [scenes.covered(text, scene) for text in said]
            marks["contradictions"] = [len(scenes.contradictions(text)) for text in said]
        for name, values in marks.items():
            row[name] = values if "captions" in row else values[0]
    names = ("true", "identifies", "true_sentences", "covered", "contradictions")
    there = [name for name in names if all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in there}


def _true_sentences(text: str, scene: Scene) -> float:
    each = scenes.true_sentences(text, scene)
    return sum(each) / len(each) if each else 0.0
