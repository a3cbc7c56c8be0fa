"""Counting how often loops run, and finding them again in what is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from capjax.compiled import hlo
from capjax.compiled.ledger import Account, show
from capjax.compiled.targets import H100
from capjax.compiled.trips import counts_of, form_of, numbered


def collatz(n):
    """Steps until 1, over some numbers: a loop whose end depends on data in a loop."""

    def steps(total, n):
        def step(state):
            n, count = state
            return lax.cond(n % 2 == 1, lambda n: 3 * n + 1, lambda n: n // 2, n), count + 1

        return total + lax.while_loop(lambda s: s[0] != 1, step, (n, 0))[1], None

    return lax.scan(steps, 0, n)[0]


def by_hand(numbers):
    odd, total = 0, 0
    for n in numbers:
        while n != 1:
            odd, total, n = odd + n % 2, total + 1, 3 * n + 1 if n % 2 else n // 2
    return total, odd


NUMBERS = [6, 1, 9, 27]


@pytest.fixture(name="traced")
def fixture_traced():
    return numbered(jax.make_jaxpr(jax.jit(collatz))(jnp.array(NUMBERS)))


def test_numbers_change_no_result(traced):
    (found,) = jaxpr_as_fun(traced[0])(jnp.array(NUMBERS))
    assert found == by_hand(NUMBERS)[0]


def test_counts_are_those_of_the_loops(traced):
    closed, loops = traced
    assert [x.kind for x in loops] == ["scan", "while", "cond"]
    assert loops[2].within == (0, 1)
    counts = counts_of(closed, loops, [jnp.array(NUMBERS)])
    total, odd = by_hand(NUMBERS)
    np.testing.assert_array_equal(counts.entries, [1, len(NUMBERS), total])
    np.testing.assert_array_equal(counts.turns, [len(NUMBERS), total, 0])
    np.testing.assert_array_equal(counts.taken[2, :2], [total - odd, odd])


def test_loops_of_a_compiled_program_are_found_and_cost_what_they_run(traced):
    closed, loops = traced
    counts = counts_of(closed, loops, [jnp.array(NUMBERS)])
    text = jax.jit(jaxpr_as_fun(closed)).lower(jnp.array(NUMBERS)).compile().as_text()
    book = Account(hlo.read(text), H100, loops, counts)
    whole = book.whole()
    assert not book.untold
    total = by_hand(NUMBERS)[0]
    inner = next(part for _, part in whole.walk() if part.label.startswith("loop 1 "))
    assert inner.times == total
    # The host is asked whether the inner loop goes on, and which branch is taken, if there is one.
    assert whole.total("asks") in (total, 2 * total)
    assert sum(1 for _ in show(whole, H100)) == sum(1 for _ in whole.walk())


def test_a_loop_that_cannot_be_matched_is_told(traced):
    closed, loops = traced
    counts = counts_of(closed, loops, [jnp.array(NUMBERS)])
    text = jax.jit(collatz).lower(jnp.array(NUMBERS)).compile().as_text()
    book = Account(hlo.read(text), H100, loops, counts)
    book.whole()
    assert any("has no number" in one for one in book.untold)


def test_the_form_that_is_traced_is_that_of_the_platform():
    def f(x):
        return lax.platform_dependent(x, cpu=lambda x: x - 1, default=lambda x: x + 1)

    with form_of("cuda"):
        assert jax.jit(f)(1) == 2
    assert jax.jit(f)(1) == 0
