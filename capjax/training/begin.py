"""What a run needs before it trains: its data, words and networks, or one sentence that refuses.

What can be refused is, before images are encoded, which may take hours.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from capjax.data import CLASSED, Dataset, cache_folder, check_name, load
from capjax.data.batches import caption_arrays
from capjax.data.contents import digest
from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared, form_of, prepare
from capjax.data.tokens import tokenize
from capjax.data.vocabulary import Vocabulary
from capjax.data.word_notes import word_notes
from capjax.decoding.speaking import check_decoding
from capjax.errors import InputError, named
from capjax.files.whole import read_json, whole, write_json
from capjax.judging import Evaluator
from capjax.models.encoders import encoder_named
from capjax.parallel import by_first, first_before_others, processes, replicate
from capjax.parallel.together import gathered
from capjax.run.checkpoint import check_room
from capjax.run.data import check_training_data, free_settings, write_data
from capjax.run.folder import FREE, check_claim, saved
from capjax.run.recipe import Recipe, plain
from capjax.run.trained import (
    Trained,
    check_classes,
    check_sentences,
    evaluator_of,
    image_kind,
    open_run,
    speaker_of,
)
from capjax.speaker import Speaker
from capjax.training.plan import Plan
from capjax.training.stage import Learnt, Part, Run
from capjax.training.start import check_encoder, fitted


class _Ready(NamedTuple):
    """All that a run needs and that is had without encoding an image."""

    start: Trained | None  # the run of init_from
    encoder: Encoder | FeatureFiles
    dataset: Dataset
    vocabulary: Vocabulary
    concepts: tuple[str, ...]  # the classes that the speaker is told, by name
    image: tuple  # what the speaker is told of images
    speaker: Speaker
    evaluator: Evaluator | None
    params: Any  # the forms of the speaker's parameters and the evaluator's
    judged: Any


def begin(plan: Plan, workdir: Path) -> tuple[Run, Prepared, Learnt]:
    """Reads and encodes a run's data, makes its networks, and writes what it is known by.

    Returns:
      (what its stages share, its dataset, what the first stage starts from).
    Raises:
      InputError: what is wrong with the recipe, the data, the folder or another run.
    """
    recipe, data = plan.recipe, plan.recipe.data
    begun, ours = by_first(partial(_found_there, plan, workdir))
    ready = _ready(plan, workdir, ours)
    start, encoder, vocabulary = ready.start, ready.encoder, ready.vocabulary

    def check(found: Prepared) -> None:
        if begun:
            check_training_data(workdir, data, found, vocabulary)

    places = data.name, data.path or None, data.cache or None
    prepared = prepare(*places, encoder, dataset=ready.dataset, check=check)
    check(prepared)
    if not isinstance(encoder, Encoder):  # are those of another run the same?
        if start:
            check_encoder(recipe, start, prepared)
        for stage in plan.stages:
            stage.settings.check_others(recipe, vocabulary, prepared)
    _check_alike(recipe, prepared, vocabulary)
    by_first(partial(_write, workdir, recipe, prepared, ready))
    networks = ready.speaker, ready.evaluator, vocabulary, ready.image
    run = Run(recipe, workdir, *networks, *_parts(prepared, vocabulary, recipe))
    return run, prepared, _learnt(start, recipe)


def _found_there(plan: Plan, workdir: Path) -> tuple[bool, bool]:
    """Whether a folder is that of this very run, and has its vocabulary; else InputError."""
    free = free_settings(workdir, plan.recipe.data)
    begun = check_claim(workdir, plan.recipe.given, free, plan.folders)
    return begun, begun and (workdir / "vocabulary.json").exists()


def _check_alike(recipe: Recipe, prepared: Prepared, vocabulary: Vocabulary) -> None:
    """Raises InputError where processes do not train one recipe on the same data."""
    settings = {k: v for k, v in sorted(plain(recipe.given).items()) if k not in FREE}
    contents = [[name, *found] for name, found in sorted(prepared.contents.items())]
    every = gathered(digest([settings, contents, vocabulary.words]))
    if other := [which for which, its in enumerate(every) if its != every[0]]:
        raise InputError(
            f"process {other[0]} has another recipe, or other captions, images or words, than the"
            " first; give all of them the same"
        )


def _write(workdir: Path, recipe: Recipe, prepared: Prepared, ready: _Ready) -> None:
    """Writes what a run is known by. Raises InputError where its folder has too little room."""
    # Checkpoints hold the parameters, their average and two moments; three are there at once.
    check_room(workdir, (ready.params, ready.judged), copies=4 * 3 + 3)
    write_json(workdir / "config.json", recipe.given)
    write_data(workdir, recipe.data, prepared)
    if ready.concepts:
        write_json(workdir / "concepts.json", ready.concepts)
    with whole(workdir / "vocabulary.json") as draft:
        ready.vocabulary.save(draft)


def _ready(plan: Plan, workdir: Path, ours: bool) -> _Ready:
    """ours: whether the folder has a vocabulary of this very run."""
    recipe, data = plan.recipe, plan.recipe.data
    check_name(data.name)
    encoder = encoder_named(data.encoder)
    # A run that has a checkpoint of its own needs nothing any more of where it started from.
    start = None if by_first(lambda: ours and saved(workdir, "last")) else _start(recipe)
    if recipe.concepts and data.name not in CLASSED:
        raise InputError(
            f"config.concepts=True, and the images of {data.name} have no classes; take"
            f" {' or '.join(CLASSED)}"
        )
    places = data.path or None, data.cache or None
    dataset = first_before_others(cache_folder(places[1]), lambda: load(data.name, *places))
    vocabulary = _vocabulary(workdir if ours else None, start, dataset, recipe)
    check_sentences(recipe, vocabulary)
    form = form_of(encoder, dataset.splits["train"])
    image = image_kind(data.encoder, form.shape[1:])
    concepts = dataset.concepts if recipe.concepts else ()
    if ours and concepts:
        check_classes(str(workdir), read_json(workdir / "concepts.json"), concepts)
    if start:
        check_classes(recipe.init_from, start.concepts, concepts)
    speaker = speaker_of(recipe, len(vocabulary), image, len(concepts))
    evaluator = evaluator_of(recipe, len(vocabulary), image)
    _check_images(plan, dataset)
    params = jax.eval_shape(speaker.init, jax.random.key(0))
    judged = jax.eval_shape(evaluator.init, jax.random.key(0)) if evaluator else None
    if start:
        plan.stages[0].settings.check_start(recipe, start)
        start = fitted(start, recipe, speaker, params, judged)
    options: dict[str, Any] = {"judge": (evaluator, judged) if evaluator else None}
    for _, settings, _ in plan.stages:
        settings.check_others(recipe, vocabulary)
        decoding = settings.decoding_of(recipe)
        check_decoding(
            decoding, speaker, params, form, recipe.noise, concepts=bool(concepts), **options
        )
    networks = speaker, evaluator, params, judged
    return _Ready(start, encoder, dataset, vocabulary, concepts, image, *networks)


def _start(recipe: Recipe) -> Trained | None:
    """The run of init_from."""
    if not recipe.init_from:
        return None
    with named("--config.init_from", recipe.init_from):
        return open_run(recipe.init_from)


def _learnt(start: Trained | None, recipe: Recipe) -> Learnt:
    """What the first stage starts from; a judge of another kind is made anew."""
    if not start:
        return Learnt()
    same = start.recipe.judged_by == recipe.judged_by
    return Learnt(start.params, start.evaluator_params if same else None)


def _vocabulary(
    own: Path | None, start: Trained | None, dataset: Dataset, recipe: Recipe
) -> Vocabulary:
    """The words of the run itself, of what it starts from, or of the training captions."""
    if own:
        path = own / "vocabulary.json"
        try:
            return Vocabulary.load(path)
        except InputError as error:
            raise InputError(f"{error}; delete the file, and it is made again") from error
    texts = (text for split in dataset.splits.values() for each in split.captions for text in each)
    for note in word_notes((text, tokenize(text)) for text in texts):
        if processes.first():
            print(f"capjax: {note}", file=sys.stderr)
    if start:
        if start.vocabulary.sentences != dataset.sentences:
            speaks, has = "captions of one sentence", "paragraphs"
            if start.vocabulary.sentences:
                speaks, has = has, speaks
            raise InputError(
                f"the run {recipe.init_from} speaks {speaks} and the dataset {recipe.data.name}"
                f" has {has}; start from another run, or take another dataset"
            )
        return start.vocabulary
    texts = (text for each in dataset.splits["train"].captions for text in each)
    return Vocabulary.build(texts, recipe.data.min_count, sentences=dataset.sentences)


def _check_images(plan: Plan, dataset: Dataset) -> None:
    """Raises InputError where a stage learns from other images, and there are none."""
    apart = [one.name for one in plan.stages if one.settings.tells_apart]
    if apart and len(dataset.splits["train"].ids) < 2:
        raise InputError(
            f"the training split of {plan.recipe.data.name} has one image, and stage {apart[0]}"
            " learns from other images or their captions; give it two images or more, or take"
            " configs/mle.py"
        )


def _parts(prepared: Prepared, vocabulary: Vocabulary, recipe: Recipe) -> list[Part]:
    """The training split, on every device with its images where they fit, and the validation's."""
    parts = []
    for name in ("train", "val"):
        split, images = prepared.splits[name], prepared.images[name]
        arrays = caption_arrays(split, vocabulary, recipe.data.max_len)
        if name == "train":
            kept = images.nbytes <= recipe.data.resident * 2**20
            arrays = replicate(arrays | ({"image": images} if kept else {}))
        parts.append(Part(split, images, arrays))
    return parts
