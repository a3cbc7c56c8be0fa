"""How long means take over links: limits, and a ring by hand."""

import pytest

from capjax.compiled.network import ICI, INFINIBAND, NVLINK, mean_seconds
from capjax.compiled.targets import chips_of


def test_one_chip_sends_nothing():
    assert mean_seconds("h100", 1e9) == 0 == mean_seconds("v5e:1x1", 1e9)


@pytest.mark.parametrize(
    ("target", "rate"), [("v5e:16x16", ICI["v5e"]), ("v5p:8x8x16", ICI["v5p"])]
)
def test_a_torus_sends_twice_what_there_is_over_all_its_links(target, rate):
    size, n = 1e12, chips_of(target)
    assert mean_seconds(target, size) == pytest.approx(2 * (n - 1) / n * size / rate, rel=1e-4)


def test_a_line_has_half_the_links_of_a_ring():
    assert mean_seconds("v5e:8x8", 1e12) == pytest.approx(
        2 * mean_seconds("v5e:16x16", 1e12), rel=0.02
    )


def test_hosts_mean_a_share_a_card():
    size = 1e12
    ring = 2 * 7 / 8 * size / NVLINK
    assert mean_seconds("h100:8", size) == pytest.approx(ring, rel=1e-4)
    between = 2 * 3 / 4 * (size / 8) / INFINIBAND
    assert mean_seconds("h100:32", size) == pytest.approx(ring + between, rel=1e-4)


def test_what_is_small_takes_as_long_as_its_hops():
    assert mean_seconds("v5e:16x16", 4) == pytest.approx(2 * 16e-6, rel=0.01)
