"""What did the captioner say that a run begins with?"""

from collections.abc import Sequence

from capjax.errors import InputError
from capjax.evaluation import Evaluation
from capjax.files.places import place, resolved
from capjax.files.whole import read_json
from capjax.run.recipe import Recipe

NEEDED = ("decoding", "n_images", "unavailable", "digests")  # which files of older versions lack


def said_before(recipe: Recipe, found: Evaluation, stages: Sequence[str]) -> dict[str, Evaluation]:
    """The evaluation of the run of `init_from` by its name, of the validation split.

    Args:
      found: the run's own; the other must be of the same images and captions of people's.
      stages: names that are taken.
    Returns:
      {} where there is none, or it is of something else, or has gone: only reports need it.
    """
    if not recipe.init_from:
        return {}
    try:
        folder = place(recipe.init_from)
        name = resolved(folder).name
        scores, rows = (read_json(folder / f"{what}.json") for what in ("scores", "captions"))
        known = not [needed for needed in NEEDED if needed not in scores]
        same = known and scores["digests"]["references"] == found.scores["digests"]["references"]
        same = same and {row["id"] for row in rows} == {row["id"] for row in found.rows}
    except (InputError, KeyError, TypeError):
        return {}
    return {name: Evaluation(scores, rows)} if same and name not in stages else {}
