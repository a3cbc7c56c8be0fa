"""Runs that take seconds: photos of one colour each, and training in this process."""

import json
from pathlib import Path

import jax
from PIL import Image

COLOURS = ("red", "red", "red", "blue")  # a captioner that has learnt little says red


def paint_photos(folder: Path, images: int = 20) -> Path:
    """A user's folder: photos of one colour each, two captions each, the last four for val."""
    folder.mkdir(parents=True)
    rows = {}
    for i in range(images):
        colour = COLOURS[i % 4]
        Image.new("RGB", (64, 64), colour).save(folder / f"{i}.png")
        captions = [f"a {colour} wall", f"this wall is {colour}"]
        split = "val" if i >= images - 4 else "train"
        rows[f"{i}.png"] = {"captions": captions, "split": split}
    (folder / "captions.json").write_text(json.dumps(rows))
    return folder


def train_here(config: dict, workdir: Path) -> dict:
    """`capjax.training.run.train` in this process, on its four devices."""
    from capjax.training.run import train

    # Optax's Adam takes an integer to the power of a float.
    with jax.numpy_dtype_promotion("standard"):
        return train(config, workdir)
