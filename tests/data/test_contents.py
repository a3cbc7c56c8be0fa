"""Are digests equal for the same captions and images, wherever they lie, and for no others?"""

import json
import os
import shutil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import paint_photos

from capjax.data import load
from capjax.data.contents import of_texts, read_contents
from capjax.data.prepare import prepare
from capjax.models.encoders import pixels

TEXTS = st.text("ab c", max_size=4).map(lambda text: f"{text}.")
REFERENCES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(TEXTS, min_size=1, max_size=3), min_size=1
)


@given(REFERENCES, st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None)
def test_the_digest_of_texts_does_not_heed_the_order_of_ids_nor_of_their_texts(texts, draw):
    rows = [(i, draw.sample(every, len(every))) for i, every in texts.items()]
    assert of_texts(dict(draw.sample(rows, len(rows)))) == of_texts(texts)


@given(REFERENCES, REFERENCES)
@settings(derandomize=True, deadline=None)
def test_other_texts_have_another_digest(texts, others):
    def plain(every: dict) -> dict:
        return {i: sorted(text.strip() for text in rows) for i, rows in every.items()}

    assert (of_texts(texts) == of_texts(others)) == (plain(texts) == plain(others))


def test_the_digest_is_the_same_on_every_machine():
    assert of_texts({"42": ["A dog.", "un caf\u00e9"], "x": ["b"]}) == "13a4f57fb9a59014"
    assert of_texts({"COCO_val2014_000000000042.jpg": ["a"]}) == of_texts({42: ["a"]})


def test_two_images_with_one_of_cocos_numbers_stay_two():
    assert of_texts({"1": ["a"], "coco_1": ["b"]}) != of_texts({"1": ["b"], "coco_1": ["a"]})


def contents(folder, tmp_path):
    return read_contents(load("folder", folder, tmp_path / "cache"), tmp_path / "cache")


def test_contents_are_those_of_a_copy_in_another_order_and_not_of_other_photos(tmp_path):
    first = paint_photos(tmp_path / "first")
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    rows = json.loads((copy / "captions.json").read_text())
    (copy / "captions.json").write_text(json.dumps(dict(reversed(rows.items()))))
    mine, order = contents(first, tmp_path)
    theirs, other_order = contents(copy, tmp_path)
    assert mine == theirs
    assert order != other_order  # rows of features are in the order of the file
    Image.new("RGB", (64, 64), "green").save(copy / "19.png")
    changed, _ = contents(copy, tmp_path)
    assert changed["train"] == mine["train"]
    assert changed["val"].captions == mine["val"].captions
    assert changed["val"].images != mine["val"].images
    rows["0.png"]["captions"][0] += " indeed"
    (copy / "captions.json").write_text(json.dumps(rows))
    assert contents(copy, tmp_path)[0]["train"].captions != mine["train"].captions


def test_photos_exchanged_for_others_of_one_size_and_time_are_seen_anew(tmp_path):
    """As an archive leaves them whose files all have one time."""
    folder, cache = paint_photos(tmp_path / "photos"), tmp_path / "cache"
    for name in ("18.png", "19.png"):
        Image.new("RGB", (64, 64), "red" if name == "18.png" else "blue").save(
            folder / name.replace("png", "bmp")
        )
    rows = json.loads((folder / "captions.json").read_text())
    rows = {
        name.replace("18.png", "18.bmp").replace("19.png", "19.bmp"): row
        for name, row in rows.items()
    }
    (folder / "captions.json").write_text(json.dumps(rows))
    for path in folder.iterdir():
        os.utime(path, ns=(0, 0))
    before = prepare("folder", folder, cache, pixels(64))
    red, blue = (folder / f"{i}.bmp" for i in (18, 19))
    content = red.read_bytes(), blue.read_bytes()
    red.write_bytes(content[1])
    blue.write_bytes(content[0])
    for path in (red, blue):
        os.utime(path, ns=(0, 0))
    after = prepare("folder", folder, cache, pixels(64))
    assert before.fingerprint == after.fingerprint  # of names, sizes and times
    assert before.contents["val"] != after.contents["val"]
    np.testing.assert_array_equal(after.images["val"][2], before.images["val"][3])
    np.testing.assert_array_equal(after.images["val"][3], before.images["val"][2])
