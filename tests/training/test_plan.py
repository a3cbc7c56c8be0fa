"""Every recipe is read whole before it trains, and what one lacks or gets wrong is named."""

import dataclasses
import runpy
from pathlib import Path

import pytest

from capjax.errors import InputError
from capjax.run import Recipe
from capjax.settings import flat
from capjax.training.plan import WITH_REGIONS, Plan
from capjax.training.stages import stage_file, stage_names

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = [
    *("mle:scenes", "mle:coco", "gan:scenes", "gan:coco/paper", "gan:flickr8k/release"),
    *("mle:scenes-paragraphs", "gan:scenes-paragraphs", "gan:paragraphs", "evaluator:paragraphs"),
    *("contrastive:scenes-paragraphs", "self_critical:scenes-paragraphs", "eyes:scenes-paragraphs"),
    *("justification:scenes-paragraphs", "mle:paragraphs/accelerator"),
    *("gan:scenes-paragraphs/accelerator", "listener:scenes-paragraphs/accelerator"),
    *("contrastive:scenes", "listener:scenes", "self_critical:scenes/retrieval"),
    *("justification:scenes", "justification:cub", "eyes:scenes"),
    *("mle:coco/accelerator", "gan:coco/paper/accelerator", "evaluator:flickr8k/accelerator"),
    *("contrastive:scenes/accelerator", "self_critical:scenes/retrieval/accelerator"),
    *("listener:flickr30k/accelerator", "justification:cub/accelerator"),
]


def recipe(name: str) -> dict:
    file, _, arg = name.partition(":")
    config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](arg).to_dict()
    return config | {"stages": list(config["stages"])}


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("/accelerator")])
def test_on_an_accelerator_more_is_learnt_from_at_once(name):
    """Rates follow the batch, updates lead as far, and nothing else of learning is another."""
    plain, larger = flat(recipe(name.removesuffix("/accelerator"))), flat(recipe(name))
    differ = {each for each in plain if plain[each] != larger[each]}
    stages = {each.removesuffix(".batch") for each in plain if each.endswith(".batch")}
    expected = {"recipe", "dtype", "data.resident"}
    if plain["data.name"] in ("coco", "flickr8k", "flickr30k"):
        expected.add("validate_every")
    for stage in stages:
        factor = larger[f"{stage}.batch"] / plain[f"{stage}.batch"]
        if stage == "listener" or plain.get(f"{stage}.rewards.self_retrieval"):
            assert factor == 1  # the batch is what the task is
            continue
        assert factor >= 8
        expected.add(f"{stage}.batch")
        if f"{stage}.steps" in plain:
            continue
        pace = min(4, factor**0.5)
        expected |= {f"{stage}.{name}" for name in ("learning_rate", "warmup", "epochs")}
        rate = larger[f"{stage}.learning_rate"] / plain[f"{stage}.learning_rate"]
        updates = larger[f"{stage}.epochs"] / plain[f"{stage}.epochs"] / factor
        assert rate == pytest.approx(pace)
        assert updates == pytest.approx(1 / pace)
        assert larger[f"{stage}.warmup"] == pytest.approx(plain[f"{stage}.warmup"] / pace, abs=0.5)
        if decay := plain.get(f"{stage}.average"):
            expected.add(f"{stage}.average")
            assert larger[f"{stage}.average"] == pytest.approx(decay**pace)
    assert differ == expected
    assert larger["dtype"] == "bfloat16"


def required(stage: str) -> list[str]:
    """The settings that a recipe must give a stage."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(stage_file(stage).Settings)
    return [f.name for f in fields if f.default is missing and f.default_factory is missing]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_ours_is_read_to_the_last_setting_of_its_stages(name):
    config = recipe(name)
    plan = Plan(config)
    assert [stage.name for stage in plan.stages] == config["stages"]
    for stage in plan.stages:
        read = dataclasses.asdict(stage.settings)
        assert config[stage.name].items() <= read.items()
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert config.keys() - set(stage_names()) <= names
    data = {field.name for field in dataclasses.fields(type(plan.recipe.data))}
    assert config["data"].keys() == data


@pytest.mark.parametrize(
    ("name", "setting"),
    [(stage, setting) for stage in stage_names() for setting in required(stage)],
)
def test_a_stage_that_lacks_a_setting_names_it(name, setting):
    config = recipe("gan:scenes" if name in ("evaluator", "adversarial") else f"{name}:scenes")
    if name == "self_critical":
        config = recipe("self_critical:scenes/retrieval")
    del config[name][setting]
    with pytest.raises(InputError, match=rf"no setting config\.{name}\.{setting};"):
        Plan(config)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("dim", "wide", "config.dim=wide must be at least 1"),
        ("mle.batch", None, "config.mle.batch=None must be at least 1"),
        ("mle.schedule", "linear", "config.mle.schedule='linear' must be one of cosine, constant"),
        ("mle.accumulate", 0, "config.mle.accumulate=0 must be at least 1"),
        ("mle.accumulate", 3, "cannot be shared by 4 devices in 3 parts each; make it a multiple"),
        ("mle.average", 1.0, "config.mle.average=1.0 must be at least 0 and below 1"),
        ("decoding.top_p", 1.5, "config.decoding.top_p=1.5 must be above 0 and at most 1"),
        ("data.min_count", 0, "config.data.min_count=0 must be at least 1"),
        ("parallel", "threads", "config.parallel='threads' must be one of pmap, shard_map"),
        ("mle.decoding", "beam", "config.mle.decoding='beam' must be settings by their names"),
        ("mle.decoding", {"temperature": -3}, "config.mle.decoding.temperature=-3 must be above 0"),
        ("data", 5, "config.data.name"),
        ("judge", "jury", "config.judge='jury' must be one of , evaluator, listener"),
    ],
)
def test_a_setting_that_cannot_be_is_named(setting, value, words):
    config = recipe("mle:scenes")
    *above, last = setting.split(".")
    place = config
    for name in above:
        place = place[name]
    place[last] = value
    with pytest.raises(InputError) as error:
        Plan(config)
    assert words in str(error.value)


def test_a_stage_that_needs_its_whole_batch_learns_from_no_parts():
    config = recipe("listener:scenes")
    config["listener"]["accumulate"] = 2
    with pytest.raises(InputError, match=r"config\.listener\.accumulate=2: .* as a whole"):
        Plan(config)


def test_a_reward_that_nobody_gives_is_refused():
    config = recipe("self_critical:scenes")
    config["self_critical"]["rewards"]["bleu"] = 5.0
    with pytest.raises(
        InputError, match=r"no setting config\.self_critical\.rewards\.bleu; choose"
    ):
        Plan(config)


@pytest.mark.parametrize(
    "stages", [["contrastive"], ["listener", "contrastive"], ["evaluator", "contrastive"]]
)
def test_what_tunes_a_captioner_needs_one(stages):
    gan, config = recipe("gan:scenes"), recipe("contrastive:scenes")
    config |= {name: gan[name] for name in ("evaluator", "evaluator_dim", "evaluator_dropout")}
    config |= {"listener": recipe("listener:scenes")["listener"], "stages": stages}
    with pytest.raises(InputError, match="contrastive learning starts from a captioner"):
        Plan(config)


@pytest.mark.parametrize(("encoder", "other"), WITH_REGIONS.items())
@pytest.mark.parametrize("cell", ["att2in", "adaptive"])
def test_a_cell_that_looks_at_regions_is_told_which_encoder_gives_them(cell, encoder, other):
    """And what it is told to take is accepted."""
    config = recipe("mle:scenes") | {"cell": cell}
    config["data"]["encoder"] = encoder
    with pytest.raises(InputError, match=rf"gives one vector an image; .*\.encoder={other}$"):
        Plan(config)
    config["data"]["encoder"] = other
    assert Plan(config).recipe.data.encoder == other


def test_scenes_are_seen_by_trained_eyes_unless_eyes_are_to_be_trained():
    for name in ("mle", "gan", "listener", "contrastive", "self_critical"):
        plan = Plan(recipe(f"{name}:scenes"))
        paragraphs = Plan(recipe(f"{name}:scenes-paragraphs")).recipe
        assert (paragraphs.cell, paragraphs.data.encoder) == ("paragraph", "eyes64_objects")
        assert (plan.recipe.data.encoder, plan.recipe.sight) == ("eyes64_objects", "convnet")
    assert Plan(recipe("justification:scenes")).recipe.data.encoder == "eyes64"
    plan = Plan(recipe("eyes:scenes"))
    assert (plan.recipe.data.encoder, plan.recipe.sight) == ("pixels64", "eyes")
    assert [stage.settings.speaks for stage in plan.stages] == [False, True]


def test_a_speaker_with_noise_draws_it_by_a_law_though_a_recipe_names_none():
    config = recipe("contrastive:scenes") | {"noise": 8}
    assert "noise_law" not in config
    assert Recipe.of(config).drawn_noise == (8, "uniform")
