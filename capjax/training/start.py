"""What a run starts from: other runs, and whether they fit it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from capjax.data.feature_files import PREFIX
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError, named
from capjax.run.data import same_features
from capjax.run.folder import Trained, judge_kind, one_place, open_run
from capjax.speaker import Speaker


def with_noise(start: Trained, config: Mapping[str, Any], speaker: Speaker) -> Trained:
    """A speaker without noise as the start of one with noise: the new weights are new ones."""
    if start.config["noise"] or not config["noise"]:
        return start
    project = jax.jit(speaker.init)(jax.random.key(config["seed"]))["params"]["project"]
    if layer := start.params["params"].get("project"):  # nic has one for the image already
        new = project["kernel"][len(layer["kernel"]) :]
        project = {**layer, "kernel": jnp.concatenate([layer["kernel"], new])}
    return start._replace(params={"params": {**start.params["params"], "project": project}})


def reference_of(
    config: Mapping[str, Any], vocabulary: Vocabulary, prepared: Prepared | None = None
) -> Trained | None:
    """The run that contrastive learning takes as its reference; None where it is its own start.

    prepared: as of `check_encoder`.
    """
    folder = config.get("contrastive", {}).get("reference", "")
    if "contrastive" not in config["stages"] or not folder:
        return None
    with named("--config.contrastive.reference", folder):
        found = open_run(folder)
    encoder = config["data"]["encoder"]
    theirs = found.config["data"]["encoder"]
    files = theirs.startswith(PREFIX) and encoder.startswith(PREFIX)
    same = theirs == encoder or (
        files and (prepared is None or same_features(Path(folder), prepared))
    )
    other = found.vocabulary != vocabulary or not same
    if other or found.config["noise"] or found.concepts:
        raise InputError(
            f"the reference {folder} has another vocabulary, another encoder ({theirs} where this"
            f" run has {encoder}), noise or classes; start both from one run, with one encoder, no"
            " noise and no classes"
        )
    return found


def check_judge(config: Mapping[str, Any], start: Trained) -> None:
    """Raises InputError where a recipe asks a judge that neither it nor its start has trained."""
    mine, theirs = judge_kind(config), judge_kind(start.config) if start.evaluator else ""
    first = config["stages"][0]
    if mine and first == "self_critical" and theirs != mine:
        raise InputError(
            f"the rewards ask the {mine} of {config['init_from']}, which trained"
            f" {f'none but its {theirs}' if theirs else 'none'}; name a run that did, as of"
            f" configs/{mine}.py, or put {mine!r} before {first!r} in config.stages"
        )


def check_encoder(
    config: Mapping[str, Any], start: Trained, prepared: Prepared | None = None
) -> None:
    """Raises InputError where a run's start sees other features, though of one shape.

    prepared: what the run sees, by which features are known that have moved; where it is not known
    yet, features of a user's are not looked at.
    """
    theirs, ours = start.config["data"]["encoder"], config["data"]["encoder"]
    files = theirs.startswith(PREFIX) and ours.startswith(PREFIX)
    if files and (prepared is None or same_features(Path(config["init_from"]), prepared)):
        return
    if theirs != ours and not one_place(theirs, ours):
        if files:
            raise InputError(
                f"the run in {config['init_from']} saw the features {theirs}, and those of {ours}"
                " hold other numbers, or it does not tell what its own held; give the same with"
                " --config.data.encoder"
            )
        raise InputError(
            f"the run in {config['init_from']} sees images by the encoder {theirs}, and this recipe"
            f" by {ours}; give both the same with --config.data.encoder"
        )


def check_start(source: str, params: Any, like: Any, what: str = "speaker") -> None:
    theirs, ours = (
        {jax.tree_util.keystr(path): x.shape for path, x in jax.tree.leaves_with_path(tree)}
        for tree in (params, like)
    )
    differ = [
        name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)
    ]
    if differ:
        raise InputError(
            f"the {what} of {source} has {differ[0]} {theirs.get(differ[0])} where this recipe has"
            f" {ours.get(differ[0])}; give both the same cell, dim, noise, encoder and vocabulary"
        )
