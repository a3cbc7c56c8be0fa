"""What speaks captions of one sentence is no start for paragraphs."""

import json

import pytest
from PIL import Image
from small_runs import train_here

from capjax.errors import InputError


@pytest.mark.slow
def test_a_run_of_single_sentences_is_no_start_for_paragraphs(recipe, trained, tmp_path):
    folder = tmp_path / "paragraphs"
    folder.mkdir()
    rows = [{"image_id": i, "paragraph": "A red wall. It is red."} for i in (1, 2)]
    (folder / "paragraphs_v1.json").write_text(json.dumps(rows))
    for i, split in enumerate(("train", "val"), 1):
        (folder / f"{split}_split.json").write_text(json.dumps([i]))
        Image.new("RGB", (8, 8)).save(folder / f"{i}.jpg")
    data = {"data.name": "paragraphs", "data.path": str(folder), "init_from": str(trained)}
    with pytest.raises(InputError, match="speaks captions of one sentence and the dataset"):
        train_here(recipe(**data), tmp_path / "run")
