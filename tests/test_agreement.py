"""No public function takes arrays that do not agree. They are found by inspection, none by name."""

import inspect
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict
from hypothesis import given, settings
from hypothesis import strategies as st

import capjax
from capjax.agreement import agree
from capjax.decoding.best_of import best_of
from capjax.decoding.guided import guided_search
from capjax.decoding.justify import justify
from capjax.decoding.reasoning import introspective_speaker
from capjax.judging import score_read
from capjax.metrics import ngram_table
from capjax.objectives.adversarial import adversarial
from capjax.objectives.contrastive import contrastive
from capjax.objectives.evaluator_training import evaluator_training
from capjax.objectives.listener_training import listener_training
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.objectives.rewards import evaluator_reward, self_retrieval_reward
from capjax.objectives.self_critical import self_critical
from capjax.speaker import score, scored, shift, weighted_score

V, D, N, M, T, Z, C = 5, 3, 4, 2, 3, 2, 3
SPEAKER = capjax.generator(V, ("features", D), dim=4, noise=Z, concepts=C)
PLAIN = capjax.generator(V, ("features", D), dim=4)
JUDGE = capjax.evaluator(V, ("features", D), dim=4)
LISTENER = capjax.listener(V, ("features", D), dim=4)
WORDS = jnp.array([[2, 3, 0], [4, 2, 3], [3, 0, 0], [2, 2, 0]], jnp.int32)
TABLE = ngram_table(np.asarray(WORDS)[:, None])


@pytest.fixture(scope="module")
def params():
    """Of the models above, by their identity."""
    models = SPEAKER, PLAIN, JUDGE, LISTENER
    return {id(one): jax.jit(one.init)(jax.random.key(i)) for i, one in enumerate(models)}


def rows(n, *shape):
    return jax.random.normal(jax.random.key(9), (n, *shape))


def words(n, *axes):
    """int32[n, *axes, T]: captions of N images, or of more and fewer."""
    some = jnp.tile(WORDS, (-(-n // N), 1))[:n]
    return jnp.broadcast_to(some.reshape(n, *(1,) * len(axes), T), (n, *axes, T))


def context(n, *axes):
    return {
        "image": rows(n, *axes, D),
        "noise": rows(n, *axes, Z),
        "concept": jnp.zeros((n, *axes), jnp.int32),
    }


def keys(n):
    return jax.random.split(jax.random.key(1), n)


# How an argument of n rows is made, by its name; what leads with no rows stands in FIXED.
LED: dict[str, Callable] = {
    "context": context,
    "contexts": lambda n: {"image": rows(n, M, D)},
    "target": context,
    "distractors": lambda n: context(n, M),
    "captions": words,
    "key": keys,
    "candidates": words,
    "references": lambda n: words(n, M),
    "mask": lambda n: jnp.ones((n, M), bool),
    "images": lambda n: rows(n, D),
}
FIXED = {
    "speaker": SPEAKER,
    "evaluator": JUDGE,
    "listener": LISTENER,
    "table": TABLE,
}
# Where a name means something else: {function: {argument: how it is made of n rows}}.
ELSE: dict[str, dict[str, Callable]] = {
    "diversity": {"captions": lambda n: words(n, M)},
    "self_cider_kernel": {"captions": lambda n: words(n, M)},
    "consensus": {"captions": lambda n: words(n, M)},
    "guided_search": {"key": lambda n: jax.random.key(1)},
    "best_of": {"key": lambda n: jax.random.key(1)},
    "justify": {
        "context": lambda n: {k: x for k, x in context(n).items() if k != "concept"},
        "target": lambda n: jnp.zeros(n, jnp.int32),
        "distractor": lambda n: jnp.ones(n, jnp.int32),
    },
    "score": {"inputs": lambda n: shift(words(n))},
    "weighted_score": {"inputs": lambda n: shift(words(n)), "weights": lambda n: rows(n, T)},
    "score_read": {"image": lambda n: rows(n, 4)},
}
BEYOND = {  # not in the API by name, and spoken of in README
    one.__name__: one
    for one in (
        *(best_of, guided_search, introspective_speaker, justify),
        *(score, weighted_score, score_read),
    )
}
# What has no two arrays led by the same rows: one array only, texts, or rows that need not match.
ALONE = {
    *("evaluator", "generator", "listener", "paragraph_evaluator", "paragraph_generator"),
    *("repeated_trigrams", "between_sentences"),
    *("encode", "score_captions", "ngram_table", "recall", "retrieval_ranks", "retrieve"),
    *("novel", "pack_references", "self_cider_kernel", "consensus", "diversity"),
    "pairwise_log_probs",
}
OF_FEW_ROWS = {"best_of": {"score": lambda c, w: jnp.zeros(len(w)), "n": 2}}
SMALL = {"width": 2, "max_len": T, "rollouts": 2, "candidates": 2, "branch": 2, "metrics": None}


def public() -> dict[str, Callable]:
    """Every function of the API, but the losses."""
    found = dict(BEYOND)
    for module in (capjax, capjax.metrics):
        for name in module.__all__:
            one = getattr(module, name)
            if callable(one) and not inspect.isclass(one):
                found[name] = one
    return found


def call_of(name: str, n: int, params: dict) -> dict:
    """Arguments of a function, of n rows, that do agree."""
    given = {}
    for argument, about in inspect.signature(public()[name]).parameters.items():
        special = ELSE.get(name, {})
        if argument in OF_FEW_ROWS.get(name, {}):
            given[argument] = OF_FEW_ROWS[name][argument]
        elif argument in special or (argument in LED and about.default in (about.empty, None)):
            given[argument] = special.get(argument, LED.get(argument))(n)
        elif argument in FIXED:
            given[argument] = FIXED[argument]
        elif argument.endswith("params"):
            model = FIXED[{"params": "speaker"}.get(argument, argument.removesuffix("_params"))]
            given[argument] = params[id(model)]
        elif argument in SMALL:
            given[argument] = SMALL[argument]
        else:
            unknown = about.default is about.empty and about.kind is not about.VAR_KEYWORD
            assert not unknown, f"tell this test how the argument {argument} of {name} is made"
    if name in ("judge", "score_read"):
        given["params"] = params[id(JUDGE)]
    if name == "listen":
        given["params"] = params[id(LISTENER)]
    return given


def led(name: str, given: dict) -> list[tuple[str, ...]]:
    """The paths of a call's arrays that lead with rows."""
    paths: list[tuple[str, ...]] = []
    for argument, value in given.items():
        if isinstance(value, dict) and argument in ("context", "contexts", "target", "distractors"):
            paths += [(argument, leaf) for leaf in value]
        elif argument in LED or argument in ELSE.get(name, {}):
            paths.append((argument,))
    return [path for path in paths if getattr(read(given, path), "ndim", 0)]


def read(given, path):
    value = given[path[0]]
    return value[path[1]] if len(path) > 1 else value


def changed(given, path, value):
    if len(path) == 1:
        return given | {path[0]: value}
    return given | {path[0]: given[path[0]] | {path[1]: value}}


def refusal(function: Callable, given: dict) -> str:
    """The one sentence that a call is refused with, by this library and not by JAX."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        function(**given)
    trace = caught.value.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    assert Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(capjax.__file__).parent)
    sentence = str(caught.value)
    assert re.fullmatch(r".{10,300}", sentence), sentence
    return sentence


TOGETHER = sorted(set(public()) - ALONE)


# They take longest to compile; other tests call each of them with arrays that agree.
SLOW = {
    *("best_of", "emitter_suppressor", "guided_search", "rollout_values"),
    *("introspective_score", "introspective_speaker", "reasoning_speaker"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in sorted(public())
    ],
)
def test_every_function_takes_arrays_that_agree(name, params):
    if name in ALONE:
        assert name in public()  # nothing in the list has been renamed away
        return
    public()[name](**call_of(name, N, params))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(data=st.data())
def test_no_function_takes_arrays_that_do_not_agree(params, data):
    name = data.draw(st.sampled_from(TOGETHER))
    good = call_of(name, N, params)
    path = data.draw(st.sampled_from(led(name, good)))
    n = data.draw(st.sampled_from([1, N - 1, N + 1, 2 * N]))
    other = call_of(name, n, params)
    bad = changed(good, path, read(other, path))
    sentence = refusal(public()[name], bad)
    shapes = {str(list(map(int, x.split(",")))) for x in re.findall(r"\[([\d, ]+)\]", sentence)}
    assert str(list(read(bad, path).shape)) in shapes, sentence
    assert len(shapes) > 1 or path == ("key",), sentence  # a key is told the number of rows


@pytest.mark.parametrize("name", TOGETHER)
def test_so_it_is_under_jit(name, params):
    good = call_of(name, N, params)
    for path in led(name, good):
        bad = changed(good, path, read(call_of(name, N - 1, params), path))
        arrays = {argument: bad[argument] for argument in {path[0] for path in led(name, good)}}
        rest = {argument: x for argument, x in bad.items() if argument not in arrays}
        with pytest.raises(ValueError, match=r"\[3"):
            jax.eval_shape(partial(public()[name], **rest), **arrays)


WRONG = {
    "an id below 0": lambda x: x.at[1, 0].set(-1),
    "the id V": lambda x: x.at[1, 0].set(V),
    "floats": lambda x: x.astype(jnp.float32),
    "a list": lambda x: x.tolist(),
    "one caption": lambda x: x[0],
    "nothing": lambda x: None,
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize(
    "name",
    sorted(n for n in TOGETHER if "captions" in inspect.signature(public()[n]).parameters),
)
def test_what_is_no_caption_is_refused(name, how, params):
    good = call_of(name, N, params)
    sentence = refusal(public()[name], good | {"captions": WRONG[how](good["captions"])})
    assert "captions" in sentence


def test_ids_of_numpy_are_seen_before_they_are_made_32_bits_long(params):
    far = np.asarray(WORDS, np.int64) + 2**32  # the same, cut to 32 bits
    call = call_of("log_probs", N, params) | {"captions": far}
    assert "4294967300" in refusal(capjax.log_probs, call)


@pytest.mark.parametrize("shape", [(0, T), (N, 0)])
@pytest.mark.parametrize("name", ["log_probs", "judge", "listen", "rollout_values"])
def test_nothing_to_read_is_said_to_be_nothing(name, shape, params):
    given = {
        k: x[: shape[0]] if k in ("captions", "key") else x
        for k, x in call_of(name, N, params).items()
    }
    refusal(public()[name], given | {"captions": jnp.zeros(shape, jnp.int32)})


@pytest.mark.parametrize("name", ["beam_search", "emitter_suppressor", "reasoning_speaker"])
def test_no_row_is_said_to_be_none(name, params):
    refusal(public()[name], call_of(name, N, params) | call_of_none(name, params))


def call_of_none(name, params):
    contexts = ("context", "target", "distractors")
    return {
        k: jax.tree.map(lambda x: x[:0], x)
        for k, x in call_of(name, N, params).items()
        if k in contexts
    }


NO_CONTEXT = {
    "a list": lambda c: list(c.values()),
    "an array": lambda c: next(iter(c.values())),
    "nothing": lambda c: None,
    "no array in it": lambda c: {},
    "lists in it": lambda c: {k: x.tolist() for k, x in c.items()},
    "text in it": lambda c: c | {"image": np.array(["a", "b", "c", "d"])},
    "no image": lambda c: {k: x for k, x in c.items() if k != "image"},
    "NaN": lambda c: c | {"image": c["image"].at[(0,) * c["image"].ndim].set(jnp.nan)},
    "imaginary numbers": lambda c: c | {"image": c["image"].astype(jnp.complex64)},
    "a view of a dict": MappingProxyType,
    "infinity": lambda c: c | {"image": c["image"].at[(1,) * c["image"].ndim].set(jnp.inf)},
    "wider images": lambda c: c | {"image": jnp.concatenate([c["image"], c["image"]], -1)},
    "images of more axes": lambda c: c | {"image": c["image"][..., None]},
}


@pytest.mark.parametrize("how", NO_CONTEXT)
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (n, a)
        for n in TOGETHER
        for a in ("context", "contexts", "target", "distractors")
        if a in inspect.signature(public()[n]).parameters and a not in ELSE.get(n, {})
    ],
)
def test_what_is_no_context_is_refused(name, argument, how, params):
    good = call_of(name, N, params)
    refusal(public()[name], good | {argument: NO_CONTEXT[how](good[argument])})


@pytest.mark.parametrize("missing", ["image", "noise", "concept"])
def test_a_generator_says_what_it_lacks(missing, params):
    lacking = {k: x for k, x in context(N).items() if k != missing}
    with pytest.raises(ValueError, match=f"lacks .*{missing}"):
        capjax.greedy(SPEAKER, params[id(SPEAKER)], lacking)


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("noise", rows(N, Z + 1)),
        ("concept", jnp.full(N, C)),
        ("concept", jnp.full(N, -1)),
        ("concept", jnp.zeros(N)),
        ("concept", jnp.zeros((N, 1), jnp.int32)),
    ],
)
def test_noise_and_concepts_are_those_that_the_generator_knows(leaf, value, params):
    call = {"speaker": SPEAKER, "params": params[id(SPEAKER)], "context": context(N)}
    assert leaf in refusal(capjax.greedy, changed(call, ("context", leaf), value))


def test_pixels_are_bytes_of_the_size_that_is_read(key):
    speaker = capjax.generator(V, ("pixels", 16, 16), dim=4)
    params = jax.jit(speaker.init)(key)
    pixels = jnp.zeros((N, 16, 16, 3), jnp.uint8)
    call = {"speaker": speaker, "params": params, "context": {"image": pixels}}
    capjax.greedy(**call, max_len=2)
    for wrong in (pixels / 255, pixels[:, :, :8], pixels[..., :1], pixels[..., 0]):
        assert "uint8[N, 16, 16, 3]" in refusal(capjax.greedy, call | {"context": {"image": wrong}})


@pytest.mark.parametrize(
    "how",
    [jax.random.PRNGKey, lambda s: None, lambda s: s, lambda s: keys(N).reshape(2, 2)],
    ids=["old-style", "none", "a number", "two axes"],
)
@pytest.mark.parametrize("name", ["sample", "rollout_values", "guided_search", "best_of"])
def test_what_is_no_key_is_refused(name, how, params):
    call = call_of(name, N, params) | {"key": how(0)}
    assert "key" in refusal(public()[name], call)


def test_who_speaks_and_who_judges_share_a_vocabulary(params, key):
    other = capjax.evaluator(V + 1, ("features", D), dim=4)
    theirs = jax.jit(other.init)(key)
    for name, who in (
        ("rollout_values", "evaluator"),
        ("guided_search", "evaluator"),
        ("reasoning_speaker", "listener"),
    ):
        call = call_of(name, N, params) | {who: other, f"{who}_params": theirs}
        assert "vocabulary" in refusal(public()[name], call)


def test_a_score_of_the_best_is_one_number_a_caption(params):
    call = call_of("best_of", N, params) | {"score": lambda c, w: jnp.zeros(N)}
    assert "[4]" in refusal(best_of, call)


def test_distractors_are_as_many_of_every_kind(params):
    call = call_of("emitter_suppressor", N, params)
    more = changed(call, ("distractors", "noise"), rows(N, M + 1, Z))
    assert "[4, 3, 2]" in refusal(capjax.emitter_suppressor, more)
    two = {"image": rows(N, M, D), "more": rows(N, M + 1)}
    call = call_of("listen", N, params) | {"contexts": two}
    assert "[4, 3]" in refusal(capjax.listen, call)


LOSSES: dict[str, dict] = {
    "maximum_likelihood": {"log_probs": jnp.zeros(T), "caption": WORDS[0]},
    "evaluator": dict.fromkeys(("real", "generated", "mismatched"), jnp.zeros(())),
    "policy_gradient": {
        "log_probs": jnp.zeros(T),
        "values": jnp.zeros(T),
        "caption": WORDS[0],
    },
    "contrastive": {
        **dict.fromkeys(("log_p", "log_q"), jnp.zeros(())),
        **dict.fromkeys(("log_p_mismatched", "log_q_mismatched"), jnp.zeros(M)),
    },
    "self_critical": {
        "log_probs": jnp.zeros(T),
        **dict.fromkeys(("reward", "baseline"), jnp.zeros(())),
        "caption": WORDS[0],
    },
}


def losses() -> dict[str, Callable]:
    module = capjax.losses
    found = vars(module).items()
    return {k: x for k, x in found if getattr(x, "__module__", "") == module.__name__}


@pytest.mark.parametrize("name", sorted(losses()))
def test_a_loss_is_of_one_example(name):
    """Every array of a batch's, or one longer than the others, is refused; vmapped it is taken."""
    loss, good = losses()[name], LOSSES[name]
    assert loss(**good).shape == ()
    batch = {k: jnp.stack([x] * N) for k, x in good.items()}
    assert jax.vmap(lambda given: loss(**given))(batch).shape == (N,)
    refusal(loss, batch)
    for argument, x in good.items():
        refusal(loss, good | {argument: batch[argument]})
        if x.ndim:
            refusal(loss, good | {argument: jnp.concatenate([x, x[:1]])})
            refusal(loss, good | {argument: x[:1]})


def test_scores_for_retrieval_are_one_for_each_pair():
    captions, images = words(3), rows(N, D)
    call = {"captions": captions, "images": images, "name": "a"}
    fair = lambda c, i: jnp.zeros((len(c), len(i)))  # noqa: E731
    capjax.metrics.retrieve(fair, **call)
    turned = refusal(capjax.metrics.retrieve, call | {"score": lambda c, i: fair(c, i).T})
    assert {"[4, 3]", "[3, 4]"} <= set(re.findall(r"\[4, 3\]|\[3, 4\]", turned))


def test_pairs_are_of_captions_and_contexts_that_agree(params):
    call = {"speaker": SPEAKER, "params": params[id(SPEAKER)], "captions": words(3)}
    pairs = capjax.metrics.pairwise_log_probs
    assert pairs(**call, context=context(N)).shape == (3, N)
    assert "[3, 2]" in refusal(pairs, call | {"context": context(N) | {"noise": rows(3, Z)}})
    refusal(pairs, call | {"context": context(N), "captions": words(3).at[0, 0].set(V)})


def test_agree_gives_the_number_of_rows_and_names_the_first_two_that_differ():
    assert agree(a=np.zeros((2, 3)), b={"c": jnp.zeros(2)}) == 2
    with pytest.raises(ValueError, match="agree") as caught:
        agree(a=np.zeros((2, 3)), b={"c": jnp.zeros(2), "d": jnp.zeros((5, 1))})
    assert str(caught.value) == (
        "a float64[2, 3] and b['d'] float32[5, 1] do not agree: they lead with 2 and 5; give both"
        " as many rows"
    )


def algorithms() -> dict[str, Callable]:
    """The updates of a user's own loop, whose batch is one dict."""
    optimizer, speaker = optax.sgd(0.1), PLAIN
    listener, params = LISTENER, {}
    return {
        "adversarial": adversarial(speaker, JUDGE, optimizer, optimizer),
        "contrastive": contrastive(speaker, speaker, optimizer),
        "evaluator": evaluator_training(speaker, JUDGE, optimizer),
        "listener": listener_training(listener, optimizer),
        "maximum_likelihood": maximum_likelihood(speaker, optimizer),
        "self_critical": self_critical(
            speaker, optimizer, {"found": (1.0, self_retrieval_reward(listener, params))}
        ),
    }


@pytest.mark.parametrize("name", sorted(algorithms()))
@pytest.mark.parametrize("short", ["image", "caption"])
def test_no_algorithm_takes_a_batch_that_does_not_agree(name, short, key):
    batch = {"image": rows(N, D), "caption": words(N), "mismatched": words(N, M)}
    call = {"state": None, "batch": batch | {short: batch[short][:1]}, "key": key}
    sentence = refusal(algorithms()[name].update, call)
    assert "agree" in sentence


@pytest.mark.parametrize(
    "reward", [evaluator_reward(JUDGE, {}), self_retrieval_reward(LISTENER, {})]
)
def test_rewards_are_of_the_batch_that_was_drawn_for(reward):
    refusal(reward, {"batch": {"image": rows(2, D)}, "captions": words(N, M)})


def test_what_an_algorithm_reads_is_there_and_fits(key):
    batch = {"image": rows(N, D), "caption": words(N), "mismatched": words(N, M)}
    for name, reads in {
        "adversarial": ("image", "caption", "mismatched"),
        "evaluator": ("image", "caption", "mismatched"),
        "listener": ("image", "caption"),
        "maximum_likelihood": ("caption",),
        "contrastive": ("caption", "mismatched"),
        "self_critical": ("image",),
    }.items():
        for lacks in reads:
            call = {"state": None, "batch": {k: x for k, x in batch.items() if k != lacks}}
            assert lacks in refusal(algorithms()[name].update, call | {"key": key})
    call = {"state": None, "batch": batch | {"mismatched": words(N, M)[..., :-1]}, "key": key}
    assert "[4, 2, 2]" in refusal(algorithms()["contrastive"].update, call)


def one_step(algorithm, state, batch, key):
    """Whether an update can be traced on one device."""
    mapped = jax.vmap(algorithm.update, (None, 0, None), axis_name="data")
    return jax.eval_shape(mapped, state, jax.tree.map(lambda x: x[None], batch), key)


def test_a_reward_is_one_number_a_caption(params, key):
    """[B] would be held against [B, S] where B is S."""
    batch = {"image": rows(N, D)}
    for shape, fits in (((N, N), True), ((N,), False), ((), False), ((N, 1), False)):
        reward = {"mine": (1.0, lambda batch, captions, shape=shape: jnp.zeros(shape))}
        algorithm = self_critical(PLAIN, optax.sgd(0.1), reward, samples=N, max_len=T)
        state = algorithm.init(key, params[id(PLAIN)])
        if fits:
            one_step(algorithm, state, batch, key)
            continue
        with pytest.raises(ValueError, match=r"'mine' is .* \[4, 4, 3\]"):
            one_step(algorithm, state, batch, key)


def test_contrastive_pairs_are_of_other_images_and_one_vocabulary(params, key):
    batch = {"image": rows(N, D), "caption": words(N), "mismatched": words(N, N)}
    own = params[id(PLAIN)]
    algorithm = contrastive(PLAIN, PLAIN, optax.sgd(0.1), pairs="introspective")
    state = algorithm.init(key, own, own)
    one_step(algorithm, state, batch | {"mismatched": words(N, N - 1)}, key)
    with pytest.raises(ValueError, match="of 4 images a device there are 3 others"):
        one_step(algorithm, state, batch, key)
    wider = capjax.generator(V + 1, ("features", D), dim=4)
    algorithm = contrastive(PLAIN, wider, optax.sgd(0.1))
    state = algorithm.init(key, own, jax.jit(wider.init)(key))
    with pytest.raises(ValueError, match="share a vocabulary"):
        one_step(algorithm, state, batch, key)


def bigram() -> tuple[capjax.Speaker, dict]:
    """A user's: it keeps nothing, uses numpy at the start, and has settings among its params."""

    def start(params, context):
        np.asarray(context["image"])
        return (), ()

    def step(params, memory, carry, words):
        return (), jax.nn.one_hot(words, V) * [1.0, 2.0][params["scale"]]

    table = jax.random.normal(jax.random.key(5), (V, V))
    speaker = capjax.Speaker(
        lambda key: {}, start, step, lambda params, hidden: hidden @ params["table"]
    )
    return speaker, {"scale": 1, "table": table}


def test_a_speaker_of_a_users_own_needs_no_more_than_the_contract():
    speaker, params = bigram()
    images = {"image": rows(N, D)}
    log_p = jax.nn.log_softmax(2 * params["table"])
    before = shift(WORDS)
    expected = jnp.where(scored(WORDS), log_p[before, WORDS], 0)
    np.testing.assert_allclose(
        capjax.log_probs(speaker, params, images, WORDS), expected, rtol=1e-5
    )
    likeliest = capjax.greedy(speaker, params, images, max_len=2).words
    first = jnp.argmax(log_p[0])
    assert (likeliest[:, 0] == first).all()
    beam = capjax.beam_search(speaker, params, images, width=V, max_len=1)
    np.testing.assert_allclose(beam.log_prob[0], jnp.sort(log_p[0])[::-1], rtol=1e-5)
    capjax.sample(speaker, params, images, jax.random.key(0), max_len=2)
    others = {"image": rows(N, M, D)}
    plain = capjax.beam_search(speaker, params, images, width=2, max_len=2)
    same = capjax.emitter_suppressor(
        speaker, params, images, others, width=2, max_len=2, rationality=0.5
    )  # it sees no image: what is held down is half of what is said
    np.testing.assert_array_equal(same.words[:, 0], plain.words[:, 0])


def test_contexts_may_be_nested_and_of_any_mapping(params):
    """They are what the same speaker is told flat."""
    nested = SPEAKER._replace(
        start=lambda p, c: SPEAKER.start(p, {"image": c["seen"]["image"], **c["rest"]})
    )
    own = params[id(SPEAKER)]

    def nest(c):
        rest = {k: x for k, x in c.items() if k != "image"}
        return {"seen": {"image": c["image"], "none": None}, "rest": rest}

    flat, others = context(N), context(N, M)
    search = partial(capjax.emitter_suppressor, width=2, max_len=T)
    plain = search(SPEAKER, own, flat, others)
    for speaker, target, distractors in (
        (nested, nest(flat), nest(others)),
        (SPEAKER, OrderedDict(flat), FrozenDict(others)),
        (nested, FrozenDict(nest(flat)), nest(others)),
    ):
        found = search(speaker, own, target, distractors)
        np.testing.assert_array_equal(found.words, plain.words)
    pairs = capjax.metrics.pairwise_log_probs
    np.testing.assert_array_equal(
        pairs(nested, own, nest(flat), WORDS), pairs(SPEAKER, own, flat, WORDS)
    )


def test_a_judge_gives_one_number_a_caption(params):
    two = JUDGE._replace(score=lambda *given: JUDGE.score(*given)[:, None])
    for name in ("judge", "rollout_values"):
        assert "[4, 1]" in refusal(public()[name], call_of(name, N, params) | {"evaluator": two})


@pytest.mark.parametrize("keys", [None, jnp.ones(N, bool), keys(N).reshape(2, 2)])
def test_dropout_is_one_typed_key_a_row(keys, params):
    call = call_of("greedy", N, params)
    told = {"speaker": PLAIN, "params": params[id(PLAIN)]}
    refusal(capjax.greedy, call | told | {"context": {"image": rows(N, D), "dropout": keys}})


def test_sizes_may_be_numpys_and_must_be_whole():
    capjax.generator(np.int64(V), ("features", np.int64(D)))
    for wrong in ((5.0, ("features", D)), (V, D), (V, "features"), ({"a": 1}, ("features", D))):
        for one in (capjax.generator, capjax.evaluator, capjax.listener):
            refusal(lambda v, i, one=one: one(v, i), {"v": wrong[0], "i": wrong[1]})
