"""Does the run that another starts from fit it?"""

from typing import Any

import jax
import jax.numpy as jnp

from capjax.data.feature_files import PREFIX
from capjax.data.prepare import Prepared
from capjax.errors import InputError
from capjax.files.places import place
from capjax.run.data import same_features
from capjax.run.folder import one_place
from capjax.run.recipe import Recipe
from capjax.run.trained import Trained
from capjax.speaker import Speaker


def fitted(start: Trained, recipe: Recipe, speaker: Speaker, like: Any, judged: Any) -> Trained:
    """The start of a run, with new weights for noise where it has none and the recipe has.

    Args:
      like, judged: the forms of the speaker's and the evaluator's parameters.
    Raises:
      InputError: its encoder, its speaker or its evaluator do not fit the recipe.
    """
    start = _with_noise(start, recipe, speaker)
    check_start(recipe.init_from, start.params, like)
    check_encoder(recipe, start)
    if start.evaluator and start.recipe.judged_by == recipe.judged_by:
        check_start(recipe.init_from, start.evaluator_params, judged, "evaluator")
    return start


def _with_noise(start: Trained, recipe: Recipe, speaker: Speaker) -> Trained:
    """A speaker without noise as the start of one with noise: the new weights are new ones."""
    if start.recipe.noise or not recipe.noise:
        return start
    project = jax.jit(speaker.init)(jax.random.key(recipe.seed))["params"]["project"]
    if layer := start.params["params"].get("project"):  # nic has one for the image already
        new = project["kernel"][len(layer["kernel"]) :]
        project = {**layer, "kernel": jnp.concatenate([layer["kernel"], new])}
    return start._replace(params={"params": {**start.params["params"], "project": project}})


def check_encoder(recipe: Recipe, start: Trained, prepared: Prepared | None = None) -> None:
    """Raises InputError where a run's start sees other features, though of one shape.

    prepared: what the run sees, by which features are known that have moved; where it is not known
    yet, features of a user's are not looked at.
    """
    theirs, ours = start.recipe.data.encoder, recipe.data.encoder
    files = theirs.startswith(PREFIX) and ours.startswith(PREFIX)
    if files and (prepared is None or same_features(place(recipe.init_from), prepared)):
        return
    if theirs != ours and not one_place(theirs, ours):
        if files:
            raise InputError(
                f"the run in {recipe.init_from} saw the features {theirs}, and those of {ours}"
                " hold other numbers, or it does not tell what its own held; give the same with"
                " --config.data.encoder"
            )
        raise InputError(
            f"the run in {recipe.init_from} sees images by the encoder {theirs}, and this recipe"
            f" by {ours}; give both the same with --config.data.encoder"
        )


def check_start(source: str, params: Any, like: Any, what: str = "speaker") -> None:
    """Raises InputError where parameters have not the form that a recipe's have."""
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
