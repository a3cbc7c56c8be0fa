"""A run whose config.json is damaged or gone is told by its path, in one sentence."""

import json

import pytest

from capjax.errors import InputError
from capjax.run import open_run

WHOLE = {
    "data": {"name": "scenes", "encoder": "pixels64", "max_len": 5},
    "cell": "nic",
    "dim": 8,
    "noise": 0,
    "dropout": 0.0,
    "decoding": {"method": "greedy"},
}


def test_a_folder_without_one_is_no_run(tmp_path):
    with pytest.raises(InputError) as error:
        open_run(tmp_path)
    told = "holds no config.json: give the folder of a run that has been trained"
    assert str(error.value) == f"{tmp_path} {told}"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"data": {"name": "scenes", "encoder": "pixels64"}}, "config.data.max_len"),
        ({"data": 5}, "config.data=5 must be settings by their names"),
        ({"decoding": 5}, "config.decoding=5 must be settings by their names"),
        ({"dim": "wide"}, "config.dim=wide must be at least 1"),
        ({"stages": 5}, "config.stages=5 must be names of stages"),
    ],
)
def test_a_damaged_one_is_named(damage, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(WHOLE | damage))
    with pytest.raises(InputError) as error:
        open_run(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'config.json'} is damaged: ")
    assert words in str(error.value)


def test_what_a_method_does_not_use_keeps_nobody_from_opening_a_run(tmp_path):
    """Of older versions: only what is trained anew is looked at so closely."""
    decoding = {"method": "greedy", "top_k": 0}
    (tmp_path / "config.json").write_text(json.dumps(WHOLE | {"decoding": decoding}))
    with pytest.raises(InputError, match="has no checkpoint yet"):
        open_run(tmp_path)
