"""What is said of a recipe before it is compiled, and where its sizes come from."""

import jax
import numpy as np
import pytest
from compiled.recipes import SIZES, of_stage, tiny

from capjax.compiled import targets
from capjax.compiled.of_recipe import asked_of, programs_of
from capjax.compiled.sizes import FORMS, Given
from capjax.compiled.table import fits, lines
from capjax.data import Vocabulary, load
from capjax.data.prepare import form_of
from capjax.errors import InputError
from capjax.models.encoders import ENCODERS, encoder_named

FOUR = jax.devices()[:4]


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    monkeypatch.setattr(targets, "missing", lambda target: None)
    monkeypatch.setattr(targets, "prepare", lambda target: None)


def asked(config, target="h100:4", given=SIZES):
    return asked_of(config, target, given, FOUR)[1]


def test_batches_that_chips_cannot_share_are_told_with_the_next_that_they_can():
    config = of_stage("adversarial")
    config["adversarial"]["accumulate"] = 2
    with pytest.raises(InputError, match=r"the 16 chips .* --config.adversarial.batch=32"):
        asked(config, "h100:16")


@pytest.mark.parametrize(
    "target", ["h10", "h100:12", "h100:0", "v5e", "v5e:2x", "v5e:0x2", "v9:2x2"]
)
def test_a_machine_that_is_none_is_told(target):
    with pytest.raises(InputError, match="there is no machine"):
        programs_of(of_stage("mle"), target)


def test_a_compiler_that_is_missing_is_named(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    for target, package in ("v5e:2x2", "libtpu"), ("h100:8", "jax-cuda13-plugin"):
        with pytest.raises(InputError, match=rf"{target} is not installed: pip install {package}"):
            programs_of(of_stage("mle"), target)


def test_data_that_are_here_are_measured_and_those_that_are_not_are_as_published(photos, caches):
    config = tiny("mle:folder", **{"data.path": str(photos), "data.min_count": 1})
    found = asked(config, given=Given()).sizes
    split = load("folder", photos).splits["train"]
    assert (found.images, found.captions) == (16, 32) == (len(split.ids), 2 * len(split.ids))
    assert found.vocabulary == len({"a", "wall", "this", "is", "red", "blue"}) + 2
    found = asked(of_stage("mle"), given=Given(vocabulary=50)).sizes
    assert (found.vocabulary, found.images, found.captions) == (50, 113_287, 566_747)
    assert "vocabulary=50" in found.whence


def test_a_run_that_is_started_from_gives_its_words(tmp_path):
    Vocabulary(("", "<unk>", "one", "two", "three")).save(tmp_path / "vocabulary.json")
    run = asked(of_stage("contrastive") | {"init_from": str(tmp_path)}, given=Given())
    assert (run.sizes.vocabulary, run.sizes.images) == (5, 113_287)


@pytest.mark.parametrize("given", [Given(), Given(images=5, captions=10)])
def test_sizes_that_nobody_knows_are_asked_for(given):
    with pytest.raises(InputError, match="give --vocabulary, --images, --captions"):
        asked(tiny("justification:cub"), given=given)


def test_features_of_a_user_s_need_a_form_where_the_images_are_not_here():
    config = tiny("mle:coco", **{"data.encoder": "files:regions", "cell": "att2in"})
    with pytest.raises(InputError, match="--features=36x2048"):
        asked(config)
    run = asked(config, given=SIZES._replace(features=(36, 2048)))
    assert run.wide.image == ("regions", 36, 2048)
    assert run.narrow.image == ("regions", 36, 16)


def test_images_are_of_the_form_that_encoders_give(photos, caches):
    assert set(FORMS) == set(ENCODERS)
    split = load("folder", photos).splits["train"]
    for name, (shape, dtype) in FORMS.items():
        try:
            encoder = encoder_named(name)
        except InputError:
            continue  # its weights are not here
        form = form_of(encoder, split)
        assert (form.shape[1:], form.dtype) == (shape, np.dtype(dtype))


def test_what_does_not_fit_is_told_with_what_to_lower(monkeypatch):
    small = targets.H100._replace(memory=1e4)
    monkeypatch.setattr(targets, "H100", small)
    config = of_stage("mle")
    with jax.numpy_dtype_promotion("standard"):
        found = programs_of(config, "h100:4", SIZES, FOUR)
        (one,) = found.stages
    assert not fits(one, found.target)
    *_, told = lines(one, found)
    assert "stage mle does not fit on a chip of h100:4" in told
    assert "--config.mle.batch=8 or raise --config.mle.accumulate" in told
