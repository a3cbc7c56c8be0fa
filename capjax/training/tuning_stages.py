"""The stages that tune a captioner: contrastive learning, a listener, self-critical training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.batches import (
    gather,
    rows_beside_images,
    rows_with_others,
)
from capjax.data.neighbours import nearest
from capjax.data.vocabulary import tokenize
from capjax.metrics import encode, ngram_table, pack_references
from capjax.objectives.algorithm import decoded
from capjax.objectives.contrastive import contrastive
from capjax.objectives.listener_training import listener_training
from capjax.objectives.rewards import (
    cider_reward,
    evaluator_reward,
    listener_reward,
    self_retrieval_reward,
)
from capjax.objectives.self_critical import self_critical
from capjax.training.stage import Stage, evaluator_there, optimizer, speaker_there, steps_of
from capjax.training.stage_setting import Learnt, Setting, noise_of
from capjax.training.validation import listener_validation, speaker_validation

PACKED = 5000  # images whose references are weighed at once


def contrastive_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, seed = options["batch"], setting.config["seed"]
    of = np.asarray(setting.data["of"])
    names = ("nu", "pairs", "masks", "likelihood", "label_smoothing", "average")
    steps, other = steps_of(options, len(of)), setting.reference
    algorithm = contrastive(
        setting.speaker,
        other.speaker if other else setting.speaker,
        optimizer(options, steps),
        replace=-(-steps // options["rounds"]) if options["rounds"] > 1 else 0,
        **{name: options[name] for name in names},
    )
    width, mined = setting.config["noise"], options["mined"]
    near = nearest(setting.pictures, min(mined, len(setting.pictures) - 1)) if mined else None

    def init(key, there):
        start = speaker_there(setting, there, key)
        return algorithm.init(key, start, other.params if other else start)

    def update(state, data, rows, key):
        chosen = gather("others", data, rows)
        if width:
            chosen["noise"] = jnp.zeros((rows.shape[0], width))
        return algorithm.update(state, chosen, key)

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state)),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step, options["negatives"], near)[
            :, 0
        ],
        kind="others",
        captions=batch,
        validate=lambda there: speaker_validation(setting, there, options),
        score=lambda scores: scores.get("val_cider_d", scores["val_rouge_l"]),
    )


def listener_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    assert setting.evaluator is not None
    batch, seed, half = options["batch"], setting.config["seed"], options["half"]
    of = np.asarray(setting.data["of"])
    among = np.arange(of[-1] + 1)
    among = among[half - 1 :: 2] if half else among
    near = _near(setting, options, among)
    algorithm = listener_training(
        setting.evaluator, optimizer(options, steps_of(options, len(among)))
    )

    def init(key, there):
        return speaker_there(setting, there, key), algorithm.init(key, there.evaluator)

    def update(state, data, rows, key):
        told = algorithm.update(state[1], gather("beside", data, rows), key)
        return (state[0], told[0]), told[1]

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(state[0], state[1].params),
        per_epoch=len(among),
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, among=among, near=near, distractors=options["distractors"]
        ),
        kind="beside",
        captions=batch,
        validate=lambda there: listener_validation(setting, there),
        score=lambda scores: -scores["val_listener_loss"],
    )


def self_critical_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, seed, weights = options["batch"], setting.config["seed"], options["rewards"]
    of = np.asarray(setting.data["of"])
    count = len(setting.training.ids)
    steps = steps_of(options, count)
    near = _near(setting, options, np.arange(count))
    names = ("samples", "baseline", "likelihood", "dropout", "average")
    learnt = optimizer(options, steps)

    asked = setting.evaluator

    def algorithm(data, judge):
        known = {"cider": cider_reward(data["table"])}
        if asked:
            known |= {
                "evaluator": evaluator_reward(asked, judge),
                "listener": listener_reward(asked, judge),
                "self_retrieval": self_retrieval_reward(asked, judge, options["margin"]),
            }
        return self_critical(
            setting.speaker,
            learnt,
            {name: (weight, known[name]) for name, weight in weights.items() if weight},
            max_len=setting.config["data"]["max_len"],
            noise=noise_of(setting.config),
            **{name: options[name] for name in names},
        )

    def init(key, there):
        start = algorithm({"table": None}, None).init(key, speaker_there(setting, there, key))
        return start, evaluator_there(setting, there, key) if asked else None

    def update(state, data, rows, key):
        chosen = gather("beside", data, rows)
        image = data["of"][rows[:, 0]]
        chosen["references"] = jax.tree.map(lambda x: x[image], data["references"])
        new, metrics = algorithm(data, state[1]).update(state[0], chosen, key)
        return (new, state[1]), metrics

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state[0]), state[1]),
        per_epoch=count,
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, near=near, distractors=options["distractors"]
        ),
        kind="beside",
        captions=batch * options["samples"],
        validate=lambda there: speaker_validation(setting, there, options),
        # What is raised need not be CIDEr alone: the last is kept.
        score=lambda scores: float("inf"),
        beside=packed_references(setting, options["count_end"]),
    )


def _near(setting: Setting, options: Mapping[str, Any], among: np.ndarray) -> np.ndarray | None:
    """The nearest of some images to each of them, where a stage has distractors."""
    if not options["distractors"]:
        return None
    return nearest(setting.pictures[among], min(options["mined"], len(among) - 1))


def packed_references(setting: Setting, count_end: bool) -> dict[str, Any]:
    """The training captions as CIDEr-D reads them: `table`, and `references` of all images.

    Words that the vocabulary lacks have ids of their own, which no speaker says.
    """
    texts = [[" ".join(tokenize(t)) for t in every] for every in setting.training.captions]
    references, _ = encode(texts, setting.vocabulary.ids)
    table = ngram_table(references)
    parts = [
        pack_references(references[i : i + PACKED], table, count_end=count_end)
        for i in range(0, len(references), PACKED)
    ]
    return {"table": table, "references": jax.tree.map(lambda *x: jnp.concatenate(x), *parts)}
