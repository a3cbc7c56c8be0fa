"""Drawing a word: the draws follow the distribution that is asked for, by chi-square."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from capjax.decoding.draw import Truncation, draw, draw_scored, draw_several

pytestmark = pytest.mark.usefixtures("form")

N = 20_000
# A right sampler fails a comparison with this probability, were the keys not fixed.
FALSE_ALARM = 1e-6


draw = jax.jit(draw)  # one compilation for all values of the options
draw_several = jax.jit(draw_several)


def draws(key, logits, **options):
    """N draws from one row of logits."""
    return draw(key, jnp.broadcast_to(logits, (N, logits.size)), **options)


def softmax(logits, temperature=1.0):
    z = np.asarray(logits, np.float64) / temperature
    e = np.exp(z - z.max())
    return e / e.sum()


def truncated(p, top_k=None, top_p=None):
    """Keeps w where fewer than top_k entries are more probable and their mass is below top_p."""
    above = p[None] > p[:, None]
    kept = np.ones(len(p), bool)
    if top_k is not None:
        kept &= above.sum(1) < top_k
    if top_p is not None:
        kept &= (above * p).sum(1) < top_p
    return np.where(kept, p, 0) / p[kept].sum()


def assert_drawn_from(words, p):
    """The words are draws from p: none impossible, frequencies within a chi-square bound."""
    words = np.asarray(words)
    assert words.min() >= 0
    assert words.max() < len(p)
    counts = np.bincount(words, minlength=len(p))
    assert counts[p == 0].sum() == 0
    expected = p * len(words)
    rare = expected < 5  # too few for the chi-square approximation alone: counted as one
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    some = expected > 0
    statistic = ((counts - expected)[some] ** 2 / expected[some]).sum()
    assert stats.chi2.sf(statistic, max(some.sum() - 1, 1)) > FALSE_ALARM


# Block widths are ceil(sqrt(V)) up to 64, then a multiple of 128: 97 and 101 leave the last block
# partly padding, 100 fills it.
@pytest.mark.parametrize("size", [1, 2, 3, 97, 100, 101])
def test_draws_follow_the_softmax(size, key):
    logits = jax.random.normal(jax.random.fold_in(key, size), (size,)) * 2
    assert_drawn_from(draws(key, logits), softmax(logits))


def test_rows_are_drawn_independently(key):
    """The pairs of the draws of two rows follow the product of their softmaxes."""
    logits = jax.random.normal(key, (2, 5))
    pairs = draw(key, jnp.tile(logits, (N, 1))).reshape(N, 2)
    p = np.outer(softmax(logits[0]), softmax(logits[1])).reshape(-1)
    assert_drawn_from(pairs[:, 0] * 5 + pairs[:, 1], p)


def test_the_sum_that_is_taken_anyway_is_logsumexp(key):
    logits = 5 * jax.random.normal(key, (7, 30))
    logits = logits.at[0].set(-jnp.inf).at[1, :29].set(-jnp.inf)
    for options in {}, {"top_k": 3}, {"temperature": 0.5}:
        _, total = draw_scored(
            key,
            logits,
            temperature=options.get("temperature", 1.0),
            truncation=Truncation(options.get("top_k")),
        )
        scaled = logits / options.get("temperature", 1.0)
        np.testing.assert_allclose(total, jax.nn.logsumexp(scaled, -1), rtol=1e-6)


def test_minus_infinity_is_never_drawn(key):
    """Whole blocks, and entries at the first, last and inner places of a block."""
    logits = jax.random.normal(key, (23,))  # blocks of 5
    ruled_out = [0, 4, 5, 6, 7, 8, 9, 12, 20, 22]
    logits = logits.at[jnp.array(ruled_out)].set(-jnp.inf)
    for options in {}, {"top_k": 9, "top_p": 1.0}, {"top_k": 23, "top_p": 0.9}:
        p = truncated(softmax(logits), **options)
        assert_drawn_from(draws(key, logits, **options), p)


@pytest.mark.parametrize("place", [0, 4, 5, 13, 22])
def test_the_only_possible_word_is_always_drawn(place, key):
    logits = jnp.full(23, -jnp.inf).at[place].set(-7.0)
    for options in {}, {"top_k": 3, "top_p": 0.5}:
        assert (draws(key, logits, **options) == place).all()


@pytest.mark.parametrize("scale", [1e4, 3e37])
def test_huge_logits_are_drawn_by_their_differences(scale, key):
    """Equal peaks share all mass; entries far below have none in float32."""
    logits = jnp.full(23, -scale).at[jnp.array([3, 4, 22])].set(scale)
    p = np.zeros(23)
    p[[3, 4, 22]] = 1 / 3
    assert_drawn_from(draws(key, logits), p)


def test_offsets_change_nothing(key):
    logits = jnp.round(jax.random.normal(key, (23,)) * 8) / 8  # exact in float32 beside 1e4
    for options in {}, {"top_p": 0.8}:
        expected = draws(key, logits, **options)
        np.testing.assert_array_equal(draws(key, logits + 1e4, **options), expected)
        np.testing.assert_array_equal(draws(key, logits - 1e4, **options), expected)


def test_a_nucleus_is_as_wide_far_from_0(key):
    """Its border lies where a unit in the last place of what is far from 0 would move it."""
    n = 1000
    logits = jnp.zeros(n).at[0].set(9.109375)  # exact in 64ths, which are that unit
    p = softmax(logits)[0]
    for top_p, width in (p - 0.002, 1), (p + 0.002, n), (1.0, n):
        kept = np.unique(draws(key, logits - 2.0**17, top_p=top_p))
        assert len(kept) == pytest.approx(width, rel=0.2)


@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_temperature_divides_the_logits(temperature, key):
    logits = jax.random.normal(key, (23,))
    drawn = draws(key, logits, temperature=temperature)
    assert_drawn_from(drawn, softmax(logits, temperature))


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 2},
        {"top_k": 7},
        {"top_p": 0.3},
        {"top_p": 0.9},
        {"top_k": 5, "top_p": 0.8},
        {"top_k": 12, "top_p": 0.5},
        {"top_k": 4, "top_p": 0.8, "temperature": 2.0},
    ],
)
def test_truncated_draws_follow_the_renormalised_distribution(options, key):
    logits = jax.random.normal(jax.random.fold_in(key, 7), (23,)) * 1.5
    p = softmax(logits, options.get("temperature", 1.0))
    p = truncated(p, options.get("top_k"), options.get("top_p"))
    assert_drawn_from(draws(key, logits, **options), p)


@pytest.mark.parametrize("option", [{"top_k": 1}, {"top_p": 1e-6}])
def test_the_tightest_truncation_is_argmax(option, key):
    logits = jax.random.normal(key, (N, 23))
    words = draw(key, logits, **option)
    np.testing.assert_array_equal(words, logits.argmax(-1))


@pytest.mark.parametrize("option", [{"top_k": 23}, {"top_k": 1000}, {"top_p": 1.0}])
def test_a_truncation_that_keeps_all_changes_no_draw(option, key):
    logits = jax.random.normal(key, (23,))
    np.testing.assert_array_equal(draws(key, logits, **option), draws(key, logits))


def test_ties_are_all_kept(key):
    """Three words share the second place: top_k=2 and a top_p reached by one keep all of them."""
    p = np.zeros(23)
    p[[2, 7, 8, 9, 15, 22]] = 0.1, 0.15, 0.3, 0.15, 0.15, 0.15
    kept = np.where(p >= 0.15, p, 0) / 0.9
    for option in {"top_k": 2}, {"top_p": 0.35}:
        assert_drawn_from(draws(key, jnp.log(jnp.array(p)), **option), kept)


@pytest.mark.parametrize("option", [{}, {"top_k": 2, "top_p": 1.0}, {"top_k": 7, "top_p": 0.5}])
@pytest.mark.parametrize("nothing", [-jnp.inf, jnp.nan])
def test_a_row_without_mass_gives_the_last_word_and_disturbs_no_other(nothing, option, key):
    logits = jax.random.normal(key, (4, 7))
    words = draw(key, logits.at[2].set(nothing), **option)
    others = draw(key, logits, **option)
    np.testing.assert_array_equal(words, others.at[2].set(6))


def test_vmap_over_keys_equals_a_loop(key):
    logits = jax.random.normal(key, (3, 11))
    keys = jax.random.split(key, 3)
    one = lambda k, z: draw(k, z[None], top_k=3, top_p=0.8)[0]  # noqa: E731
    mapped = jax.vmap(one)(keys, logits)
    np.testing.assert_array_equal(mapped, [one(*x) for x in zip(keys, logits, strict=True)])
    assert mapped.dtype == jnp.int32


@pytest.mark.parametrize("options", [{}, {"top_k": 4, "top_p": 0.6}])
def test_with_a_key_a_row_each_row_is_drawn_as_it_is_alone(options, key):
    """Other rows neither change a draw nor, where some are drawn again, draw it once more."""
    logits = jax.random.normal(key, (64, 23)) * 2
    keys = jax.random.split(key, 64)
    together = draw(keys, logits, **options)
    assert together.dtype == jnp.int32
    for row in range(64):
        alone = draw(keys[row : row + 1], logits[row : row + 1], **options)
        assert alone[0] == together[row]
    backwards = draw(keys[::-1], logits[::-1], **options)
    np.testing.assert_array_equal(backwards, together[::-1])


def test_a_key_a_row_draws_from_the_softmax(key):
    logits = jax.random.normal(key, (23,))
    assert_drawn_from(draws(jax.random.split(key, N), logits), softmax(logits))


@pytest.mark.parametrize("size", [1, 23, 97])
def test_several_draws_are_those_of_the_same_keys_one_by_one(size, key):
    logits = jax.random.normal(key, (5, size)) * 2
    keys = jax.random.split(key, (5, 8))
    several = draw_several(keys, logits)
    assert several.dtype == jnp.int32
    expected = jnp.stack([draw(keys[:, s], logits) for s in range(8)], 1)
    np.testing.assert_array_equal(several, expected)


def test_several_draws_of_a_row_follow_its_softmax(key):
    """And those of its neighbour theirs; the pairs are independent."""
    logits = jax.random.normal(key, (2, 5))
    pairs = np.asarray(draw_several(jax.random.split(key, (2, N)), logits))
    p = np.outer(softmax(logits[0]), softmax(logits[1])).reshape(-1)
    assert_drawn_from(pairs[0] * 5 + pairs[1], p)


@pytest.mark.slow
def test_both_forms_draw_the_same(key, form, monkeypatch):
    """The same words by the same keys, but where sums that round otherwise decide; truncation by
    what is rejected and truncation by what is sought keep the same words."""
    if form == "cpu":
        pytest.skip("compared with it in the other form's turn")
    logits = 3 * jax.random.normal(key, (500, 6000))  # blocks of whole lanes
    keys = jax.random.split(key, 500)
    ours = draw_scored(keys, logits)
    kept = np.asarray(jnp.argsort(-logits, 1)[:, :3])
    ranks = draw(keys, logits, top_k=3)[:, None] == kept
    monkeypatch.undo()
    jax.clear_caches()
    theirs = draw_scored(keys, logits)
    assert (ours[0] == theirs[0]).mean() > 0.99
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)
    again = draw(keys, logits, top_k=3)[:, None] == kept
    assert ranks.any(1).all()
    assert again.any(1).all()
    assert ranks.any(0).all()
    jax.clear_caches()


def test_a_word_has_no_gradient_and_its_logsumexp_has_its_own(key):
    logits = jax.random.normal(key, (3, 23)).at[0, 5].set(-jnp.inf)
    for truncation in Truncation(), Truncation(top_k=4, top_p=0.9):

        def drawn(z, truncation=truncation):
            word, total = draw_scored(key, z, temperature=0.5, truncation=truncation)
            return (total + word.astype(jnp.float32)).sum()

        expected = jax.grad(lambda z: jax.nn.logsumexp(z / 0.5, -1).sum())(logits)
        np.testing.assert_allclose(jax.grad(drawn)(logits), expected, rtol=1e-5, atol=1e-7)


def test_no_rows_are_drawn_for_no_rows(key):
    assert draw(jax.random.split(key, 0), jnp.zeros((0, 23))).shape == (0,)
    assert draw(key, jnp.zeros((0, 200)), top_k=2).shape == (0,)
