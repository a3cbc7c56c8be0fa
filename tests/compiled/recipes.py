"""Recipes of configs/, made tiny, with their data's sizes given: nothing is read, all compiles."""

import runpy
from pathlib import Path
from typing import Any

from capjax.compiled.sizes import Given

CONFIGS = Path(__file__).parents[2] / "configs"
SIZES = Given(vocabulary=40, images=30, captions=60)
TINY = {"dim": 8, "data.encoder": "none", "data.max_len": 6, "decoding.max_len": 6}
# Each stage that there is, and a recipe that has it.
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "mle": ("gan:coco", {"stages": ("mle",)}),
    "evaluator": ("gan:coco", {"stages": ("evaluator",), "evaluator_dim": 8}),
    "adversarial": ("gan:coco", {"stages": ("adversarial",), "evaluator_dim": 8}),
    "contrastive": ("contrastive:coco", {}),
    "listener": ("listener:coco", {"evaluator_dim": 8}),
    "self_critical": (
        "self_critical:coco/retrieval",
        {"stages": ("self_critical",), "evaluator_dim": 8},
    ),
}


def tiny(name: str, **changes: Any) -> dict[str, Any]:
    """A recipe such as "gan:coco" with tiny networks and batches of 8; changes by dotted names."""
    file, _, dataset = name.partition(":")
    config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](dataset)
    config.update_from_flattened_dict(TINY | changes)
    for stage in config.stages:
        config[stage].batch = 8
    found = config.to_dict()
    return found | {"stages": list(found["stages"])}


def of_stage(name: str) -> dict[str, Any]:
    """A recipe of one stage."""
    recipe, changes = STAGES[name]
    return tiny(recipe, **changes)
