"""A run's data for who only compiles: a few images and captions, in the place of all of them.

Stages ask a run for the rows of a batch, which are numbers, and never for more of images than which
are alike. What is compiled takes the forms of the whole (`data_forms`).
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from capjax.compiled.endings import ending
from capjax.compiled.lengths import captions_like_coco, end_logits
from capjax.compiled.sizes import Sizes
from capjax.data import Dataset, Split, Vocabulary
from capjax.data.batches import caption_arrays
from capjax.judging import Evaluator
from capjax.run.recipe import Recipe
from capjax.speaker import Speaker
from capjax.training.stage import Part, Run

FEW = 256  # images

Networks = tuple[Speaker, Evaluator | None]


def words_of(sizes: Sizes) -> Vocabulary:
    """A vocabulary of a size."""
    return Vocabulary(("", "<unk>", *(f"w{i}" for i in range(2, sizes.vocabulary))))


def few_of(dataset: Dataset | None, vocabulary: Vocabulary, sizes: Sizes) -> Split:
    """The first images of a dataset with their captions; of none, captions as long as COCO's."""
    count = min(FEW, sizes.images)
    if dataset is not None:
        whole = dataset.splits["train"]
        concepts = whole.concepts[:count] if whole.concepts is not None else None
        truth = whole.truth[:count] if whole.truth is not None else None
        return Split(whole.ids[:count], whole.captions[:count], whole.image, truth, concepts)
    rng, each = np.random.default_rng(0), -(-sizes.captions // sizes.images)
    drawn = captions_like_coco(rng, count * each, sizes.vocabulary)
    texts = [vocabulary.decode(words) for words in drawn]
    captions = tuple(tuple(texts[i * each : (i + 1) * each]) for i in range(count))
    concepts = tuple(i % sizes.classes for i in range(count)) if sizes.classes else None

    def image(index: int) -> np.ndarray:
        raise AssertionError("no image is looked at")

    return Split(tuple(map(str, range(count))), captions, image, None, concepts)


def as_people_end(networks: Networks, vocabulary: Vocabulary) -> Networks:
    """Networks whose speaker ends captions as people do, whatever its parameters."""
    speaker, evaluator = networks
    return ending(speaker, end_logits(len(vocabulary))), evaluator


def stand_in(
    recipe: Recipe,
    networks: Networks,
    vocabulary: Vocabulary,
    split: Split,
    image: tuple[Any, ...],
    form: jax.ShapeDtypeStruct,
) -> Run:
    """A run of a few images, of noise: [FEW, *form]."""
    rng = np.random.default_rng(1)
    shape = (len(split.ids), *form.shape)
    images = np.asarray(rng.integers(0, 200, shape), form.dtype)
    part = Part(split, images, caption_arrays(split, vocabulary, recipe.data.max_len))
    return Run(recipe, Path(), *networks, vocabulary, image, part, part)


def data_forms(run: Run, beside: Any, sizes: Sizes) -> dict[str, Any]:
    """The forms of what of all data lies on a device, as of `begin`, and of what a stage adds.

    Tables of n-grams are taken to grow as images do, which is more than they will.
    """
    recipe, few = run.recipe, len(run.training.split.ids)
    heads = {"caption": sizes.captions, "of": sizes.captions, "concept": sizes.images}
    forms = {
        name: jax.ShapeDtypeStruct((heads[name], *x.shape[1:]), x.dtype)
        for name, x in run.training.arrays.items()
    }
    if resident(recipe, sizes):
        forms["image"] = jax.ShapeDtypeStruct((sizes.images, *sizes.form.shape), sizes.form.dtype)

    def whole(x: Any) -> jax.ShapeDtypeStruct:
        shape = x.shape
        if shape and shape[0] == few:
            shape = (sizes.images, *shape[1:])
        elif len(shape) == 1 and shape[0] > few:  # places of a table, a power of two
            times = -(-sizes.images // few)
            shape = (shape[0] << (times - 1).bit_length(),)
        return jax.ShapeDtypeStruct(shape, x.dtype)

    return forms | jax.tree.map(whole, dict(beside))


def resident(recipe: Recipe, sizes: Sizes) -> bool:
    """Whether all images lie on each device; else those of a batch are sent at each step."""
    return sizes.image_bytes <= recipe.data.resident * 2**20
