"""Speakers of paragraphs: against their equations, single steps, and the flat captioner."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.models.generator import generator
from capjax.models.paragraphs import paragraph_generator
from capjax.speaker import END, SENTENCE, log_probs, score, scored, shift

V, D, R, NOISE, DIM, S, T = 7, 5, 3, 4, 6, 3, 8

CAPTIONS = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0],  # nothing but the end
        [3, 4, 2, 5, 3, 0, 0, 0],
        [3, 4, 2, 5, 3, 2, 4, 0],  # as many sentences as are planned
        [2, 2, 3, 0, 4, 2, 1, 1],  # empty ones; and words after the end, which are not read
        [3, 2, 0, 0, 0, 0, 0, 0],  # the last one is empty
        [3, 2, 4, 2, 6, 2, 4, 2],  # more sentences than are planned, cut
        [4, 2, 2, 2, 2, 2, 2, 2],
        [5, 4, 3, 6, 4, 1, 3, 5],  # cut within a sentence
    ],
    np.int32,
)
N = len(CAPTIONS)

make = partial(paragraph_generator, V, dim=DIM, sentences=S)
read = jax.jit(log_probs, static_argnums=0)


def params_of(speaker):
    """Biases moved away from zero so that they count."""
    leaves, tree = jax.tree.flatten(jax.jit(speaker.init)(jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, leaves)


def context_of(key, n, *image):
    keys = jax.random.split(key, 2)
    return {
        "image": jax.random.normal(keys[0], (n, *image)),
        "noise": jax.random.normal(keys[1], (n, NOISE)),
    }


def naive_log_probs(params, image, noise, caption):
    """Krause et al. on one example with noise in two parts, as the equations stand: float64[T]."""
    p = params["params"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    dense = lambda layer, x: x @ layer["kernel"] + layer["bias"]  # noqa: E731

    def lstm(layer, x, state):
        enter, forget, show, new = np.split(dense(layer, np.concatenate([x, state[0]])), 4)
        cell = sigmoid(forget + 1) * state[1] + sigmoid(enter) * np.tanh(new)
        return sigmoid(show) * np.tanh(cell), cell

    zero, topics = (np.zeros(DIM), np.zeros(DIM)), []
    plan = zero
    for part in np.split(noise, 2)[0], *[np.split(noise, 2)[1]] * (S - 1):
        fed = np.maximum(dense(p["project"], np.concatenate([image, part])), 0)
        plan = lstm(p["plan"]["gates"], fed, plan)
        about = np.concatenate([plan[0], fed])
        topic = dense(p["topic"], np.maximum(dense(p["outline"], about), 0))
        topics.append((topic, dense(p["going"], plan[0])[0]))
    out, word, sentence, state = np.zeros(len(caption)), END, 0, zero
    for t, next_word in enumerate(caption):
        x = p["table"]["embedding"][word]
        sentence += word == SENTENCE
        topic, go = topics[min(sentence, S - 1)]
        if word in (END, SENTENCE):
            state = zero
        state = lstm(p["gates"], x + topic, state)
        z = dense(p["words"], state[0])
        z[[END, SENTENCE]] += -go, go
        out[t] = z[next_word] - np.log(np.exp(z).sum())
        if next_word == END:
            break
        word = next_word
    return out


def test_log_probs_are_those_of_two_plain_float64_lstms(key):
    """Whatever the captions; sentences past the last that is planned share its topic."""
    speaker = make(("features", D), noise=NOISE, noise_parts=2)
    params, context = params_of(speaker), context_of(key, N, D)
    got = read(speaker, params, context, jnp.asarray(CAPTIONS))
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, context))
    rows = zip(wide[1]["image"], wide[1]["noise"], CAPTIONS, strict=True)
    expected = np.array([naive_log_probs(wide[0], *row) for row in rows])
    np.testing.assert_allclose(got, expected, atol=1e-5)


ATTENDED = {"look": "attend", "noise": NOISE, "input_dropout": 0.2}
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("image", "options", "bound"),
    [
        (("regions", R, D), ATTENDED, 2e-5),
        slow(("regions", R, D), {"noise": NOISE, "noise_parts": 2, "dropout": 0.0}, 2e-5),
        slow(("features", D), {"noise": NOISE, "noise_parts": 2, "input_dropout": 0.2}, 2e-5),
        slow(("regions", R, D), {"noise": NOISE, "dtype": "bfloat16"}, 3e-2),
        slow(("regions", R, D), ATTENDED | {"dtype": "bfloat16"}, 3e-2),
    ],
)
@pytest.mark.parametrize("form", ["cpu", slow("accelerator")], indirect=True)
def test_all_words_at_once_are_as_single_steps(image, options, bound, key, form):
    """Several captions an image, with dropout: log-probabilities, and gradients of all."""
    speaker = make(image, **options)
    params, context = params_of(speaker), context_of(key, N // 2, *image[1:])
    keys = jax.random.split(key, N // 2)
    captions = jnp.asarray(CAPTIONS.reshape(-1, 2, T))
    weights = jnp.cos(jnp.arange(CAPTIONS.size, dtype=jnp.float32)).reshape(captions.shape)

    def gradient(speaker):
        def loss(params, context):
            context = context | {"dropout": keys}
            log_p = score(speaker, params, context, shift(captions), captions)[0]
            return (log_p * weights).sum(), log_p

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, context)

    got, expected = gradient(speaker), gradient(speaker._replace(recite=None))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    assert all(jnp.abs(x).max() > 1e-3 for x in jax.tree.leaves(expected))
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=bound * scale), got, expected)


def test_a_paragraph_of_one_sentence_is_a_flat_captioners_with_the_same_topic(key):
    """Whose image says nothing, and whose embeddings of words have the topic in them."""
    speaker = make(("features", D))
    params, context = params_of(speaker), {"image": jax.random.normal(key, (1, D))}
    memory, _ = jax.jit(speaker.start)(params, context)
    topic, go = memory["topics"][0, 0], memory["go"][0, 0]
    layers = dict(params["params"])
    for name in ("gates", "words"):
        layers[name] = dict(layers[name])
    # So that the first input, 0, leaves the state at 0.
    layers["gates"]["bias"] = layers["gates"]["bias"].at[3 * DIM :].set(0)
    paragraphs = {"params": layers}
    table = layers["table"]["embedding"]
    flat = {
        "project": {"kernel": jnp.zeros((D, DIM)), "bias": jnp.zeros(DIM)},
        "table": {"embedding": table + topic[None]},
        "gates": layers["gates"],
        "words": layers["words"]
        | {"bias": layers["words"]["bias"] + go * jnp.eye(V)[SENTENCE] - go * jnp.eye(V)[END]},
    }
    captions = jnp.array(
        [[3, 4, 5, 1, 6, 0], [4, 3, 3, 6, 5, 4], [5, 0, 0, 0, 0, 0], [6, 2, 0, 0, 0, 0]]
    )
    captions = captions.at[3, 2:].set(0)
    many = {"image": jnp.repeat(context["image"], 4, 0)}
    got = read(speaker, paragraphs, many, captions)
    expected = read(generator(V, ("features", D), dim=DIM), {"params": flat}, many, captions)
    first = np.asarray(jnp.cumsum(shift(captions) == SENTENCE, 1) == 0)
    assert not first.all()
    np.testing.assert_allclose(got, np.where(first, expected, got), atol=1e-6)


def test_to_go_on_or_to_stop_is_the_choice_of_a_stop_head(key):
    """Where ids 2 and 0 are told apart by nothing else, p(stop | the sentence ends) is a logistic
    of the sentence's state alone, whatever its words."""
    speaker = make(("features", D))
    params, context = params_of(speaker), {"image": jax.random.normal(key, (N, D))}
    words = params["params"]["words"]
    same = {
        "kernel": words["kernel"].at[:, END].set(words["kernel"][:, SENTENCE]),
        "bias": words["bias"].at[END].set(words["bias"][SENTENCE]),
    }
    params = {"params": params["params"] | {"words": same}}
    captions = jnp.asarray(CAPTIONS)

    @jax.jit
    def words_and_go(params):
        memory, carry = speaker.start(params, context)
        hidden = speaker.recite(params, memory, carry, shift(captions), scored(captions).sum(1))
        return jax.nn.log_softmax(speaker.logits(params, hidden)), memory["go"]

    log_p, go = words_and_go(params)
    got = jax.nn.sigmoid(log_p[..., END] - log_p[..., SENTENCE])
    sentence = jnp.minimum(jnp.cumsum(shift(captions) == SENTENCE, 1), S - 1)
    expected = jax.nn.sigmoid(-2 * jnp.take_along_axis(go, sentence, 1))
    real = np.asarray(scored(captions))
    assert np.ptp(np.asarray(expected)[real]) > 0.1
    np.testing.assert_allclose(got[real], expected[real], atol=1e-6)


def test_each_sentence_has_its_own_part_of_the_noise(key):
    """Another part of it changes its sentence and what comes after, and nothing before."""
    speaker = make(("features", D), noise=3, noise_parts=3)
    params = params_of(speaker)
    image = jnp.repeat(jax.random.normal(key, (1, D)), 4, 0)
    noise = jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3)])
    memory, _ = jax.jit(speaker.start)(params, {"image": image, "noise": noise})
    for x in memory["topics"], memory["go"][..., None]:
        changed = np.asarray(jnp.abs(x[1:] - x[:1]).max(-1) > 1e-4)
        np.testing.assert_array_equal(changed, np.triu(np.ones((3, 3), bool)))


@pytest.mark.parametrize("hears", [False, True])
def test_the_next_topic_depends_on_what_was_said_where_that_is_heard(hears, key):
    """The word LSTM begins anew: what it gives then is of the topic alone."""
    speaker = make(("features", D), hears=hears)
    params, context = params_of(speaker), {"image": jax.random.normal(key, (1, D))}
    context = {"image": jnp.repeat(context["image"], 2, 0)}
    memory, carry = jax.jit(speaker.start)(params, context)
    step = jax.jit(speaker.step)
    for words in [0, 0], [3, 4], [2, 2]:
        carry, hidden = step(params, memory, carry, jnp.array(words))
    assert (jnp.abs(hidden[0] - hidden[1]).max() > 1e-4) == hears
    assert (speaker.recite is None) == hears


@pytest.mark.parametrize(
    "image", [("features", D), pytest.param(("regions", R, D), marks=pytest.mark.slow)]
)
def test_a_topic_stands_till_its_sentence_ends(image, key):
    """A plan that is deaf to what it hears is one that does not hear."""
    look = "attend" if image[0] == "regions" else "pool"
    hearing = make(image, hears=True, look=look)
    params, context = params_of(hearing), context_of(key, N, *image[1:])
    plan = params["params"]["plan"]["gates"]
    heard = slice(DIM, 2 * DIM)  # between what it is fed and its own state
    kernel = plan["kernel"]

    def planned(kernel):
        layers = params["params"] | {"plan": {"gates": plan | {"kernel": kernel}}}
        return {"params": layers}

    got = read(hearing, planned(kernel.at[heard].set(0)), context, jnp.asarray(CAPTIONS))
    deaf = make(image, look=look, sentences=T)
    short = jnp.concatenate([kernel[:DIM], kernel[2 * DIM :]])
    expected = read(deaf, planned(short), context, jnp.asarray(CAPTIONS))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.slow
def test_pixels_are_seen_at_a_glance_or_looked_at_by_region(key):
    """Both give gradients to all parameters."""
    pixels = jax.random.randint(key, (2, 16, 32, 3), 0, 256).astype(jnp.uint8)
    for look in "pool", "attend":
        speaker = make(("pixels", 16, 32), look=look)
        params = jax.jit(speaker.init)(key)
        captions = jnp.array([[3, 2, 4, 0], [5, 3, 2, 6]])

        def loss(params, speaker=speaker, captions=captions):
            return log_probs(speaker, params, {"image": pixels}, captions).sum()

        gradient = jax.jit(jax.grad(loss))(params)["params"]
        assert all(jnp.abs(x).max() > 0 for x in jax.tree.leaves(gradient["see"]))
        assert ("places" in gradient["see"]) == (look == "attend")


def test_what_does_not_fit_is_named():
    for option in (
        {"vocab_size": 2},
        {"sentences": 0},
        {"noise_parts": 2},
        {"noise": 4, "noise_parts": 3},
        {"noise": 4, "noise_parts": 4},
        {"dim": 0},
        {"look": "glance"},
        {"look": "attend"},
    ):
        name, value = list(option.items())[-1]
        options = {"vocab_size": V, "image": ("features", D), "sentences": S} | option
        with pytest.raises(ValueError, match=rf"{name}[= ]'?{value}"):
            paragraph_generator(**options)
    with pytest.raises(ValueError, match="sight 'eyes'"):
        make(("pixels", 64, 64), look="attend", sight="eyes")
