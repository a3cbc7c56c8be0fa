"""How far training goes, as reckoned from what is compiled."""

import pytest
import scaling

ONE = {
    share: {"compute_s": 1e-3 * share, "by_bytes_s": 2e-3 * share, "collectives": []}
    for share in scaling.SHARES
}


def test_the_page_has_a_place_for_every_table():
    page = scaling.PAGE.read_text(encoding="utf-8")
    sweeps = [f"scaling {name} {chip}" for name in scaling.STAGES for chip in scaling.FEWEST]
    for name in (*scaling.OUTPUTS, *sweeps):
        assert page.count(f"<!-- {name} -->\n```\n") == 1


@pytest.mark.parametrize("chip", scaling.FEWEST)
@pytest.mark.parametrize("chips", scaling.CHIPS)
def test_chips_that_send_nothing_and_are_as_fast_with_few_rows_are_ideal(chip, chips):
    line = scaling.row(chip, chips, 4, ONE)
    assert chips == 1 or line.endswith("100% to 100%")


@pytest.mark.parametrize("chip", scaling.FEWEST)
def test_means_take_longer_the_more_chips_there_are_on_one_network(chip):
    sent = {"collectives": [{"kind": "all-reduce", "number": 1, "bytes": 1e6}]}
    taken = [scaling.means(chip, chips, sent) for chips in scaling.CHIPS if chips <= 64]
    assert taken == sorted(taken)
    assert taken[0] == 0
