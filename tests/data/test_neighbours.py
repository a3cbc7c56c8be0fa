"""The nearest images are those of the largest cosine."""

import numpy as np
import pytest

from capjax.data import neighbours
from capjax.data.neighbours import nearest


def by_hand(vectors, count):
    centred = vectors - vectors.mean(0)
    found = []
    for i, v in enumerate(centred):
        cosine = [v @ w / np.linalg.norm(v) / np.linalg.norm(w) for w in centred]
        found.append([j for j in np.argsort(-np.array(cosine)) if j != i][:count])
    return np.array(found)


def test_features_and_regions_by_cosine(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    vectors = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    np.testing.assert_array_equal(nearest(vectors, 4), by_hand(vectors, 4))
    spread = np.random.default_rng(1).normal(size=(30, 6, 5)).astype(np.float32)
    regions = (vectors[:, None] + spread - spread.mean(1, keepdims=True)).astype(np.float16)
    np.testing.assert_array_equal(nearest(regions, 29), by_hand(regions.mean(1, dtype="f4"), 29))


def test_pixels_by_what_a_glance_shows():
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (6, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    grain = rng.integers(-20, 20, (2, 6, 32, 32, 3))
    twins = np.clip(scenes + grain, 0, 255).reshape(12, 32, 32, 3).astype(np.uint8)
    np.testing.assert_array_equal(nearest(twins, 1)[:, 0], (np.arange(12) + 6) % 12)


@pytest.mark.parametrize("count", [0, 3])
def test_a_count_that_there_is_not(count):
    with pytest.raises(ValueError, match="from 1 to 2"):
        nearest(np.eye(3, dtype=np.float32), count)
