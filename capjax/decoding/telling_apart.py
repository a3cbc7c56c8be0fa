"""What a run says of images so that they are told from others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from capjax.decoding.beam import beam_search
from capjax.decoding.incremental import incremental
from capjax.decoding.reasoning import introspective_speaker, reasoning_speaker
from capjax.decoding.sample import greedy, sample
from capjax.decoding.speaking import JUDGED, Judged, decoding_of
from capjax.decoding.suppressor import emitter_suppressor, suppressed, together
from capjax.errors import InputError
from capjax.parallel.memory import check_fits
from capjax.speaker import Captions, Context, Params, Speaker, log_probs, repeated

WIDTH = 3  # of the beam, where a recipe searches otherwise
STREAMS = 128  # images that are spoken of or held down at once, where one target has no more
_DRAW = ("temperature", "top_k", "top_p")
RANKED = ("introspective", "reasoning")  # they choose among candidates
TELLERS = ("emitter_suppressor", *RANKED, "incremental")


class Teller(NamedTuple):
    """How images are told apart; see `emitter_suppressor` and `incremental`, and of RANKED
    `introspective_speaker` and `reasoning_speaker`."""

    name: str = "emitter_suppressor"  # one of TELLERS
    rationality: float = 0.5
    candidates: int = 10  # of RANKED
    guide: Judged | None = None  # the listener of the reasoning speaker


def apart_decoding(own: Mapping[str, Any], noise: int) -> dict[str, Any]:
    """How a run that decodes so tells images apart, where nothing else is asked for.

    It speaks from no noise, and by a beam where its recipe asks its judge.
    """
    decoding = dict(own)
    if decoding["method"] in JUDGED:
        decoding = decoding_of(own, method="beam", width=WIDTH)
    if noise:
        decoding["noise_law"] = "zero"
    return decoding


def check_teller(teller: Teller, decoding: Mapping[str, Any]) -> None:
    """Raises InputError where images cannot be told apart so."""
    name, rationality, candidates, guide = teller
    if name not in TELLERS:
        raise InputError(f"there is no speaker {name!r}; choose one of {', '.join(TELLERS)}")
    if not 0 <= rationality <= 1:
        raise InputError(f"--rationality={rationality} must be from 0 to 1")
    if name == "incremental" and not rationality:
        raise InputError(
            "the incremental speaker at --rationality=0 would say what nothing else fits, likely or"
            " not; give it more than 0"
        )
    if candidates < 1:
        raise InputError(f"--candidates={candidates} must be at least 1")
    if name in RANKED and decoding.get("samples", 1) > candidates:
        raise InputError(
            f"of {candidates} candidates there are no {decoding['samples']} captions; give more"
            " --candidates"
        )
    if name == "reasoning" and guide is None:
        raise InputError("the reasoning speaker needs a listener; name its run with --guide=RUN")
    if decoding["method"] not in ("greedy", "sample", "beam"):
        raise InputError(
            f"decoding by {decoding['method']} tells no images apart; take greedy, sample or beam"
        )
    if name in RANKED:
        chosen = [one for one in _DRAW if decoding.get(one) not in (None, False, 1.0)]
        if decoding["method"] == "greedy" or chosen:
            what = f"--{chosen[0].replace('_', '-')}" if chosen else "greedy decoding"
            raise InputError(
                f"{what} has no meaning for the {name} speaker, whose candidates are a beam's or"
                " draws at temperature 1; leave it out"
            )
    if decoding.get("groups", 1) > 1:
        raise InputError("captions that tell images apart have no diverse beams; take groups 1")


def tell_apart(
    speaker: Speaker,
    params: Params,
    images: np.ndarray,
    rows: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    teller: Teller | None = None,
    pool: np.ndarray | None = None,
    noise: int = 0,
    key: jax.Array | None = None,
    over: Callable[..., Iterable] = map,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Captions of images that would not fit others (Vedantam et al., 2017).

    Args:
      images: [N, ...], as the speaker takes them.
      rows: int[N, M], which of the pool each is to be told from.
      decoding: "greedy", "sample" with its settings, or a beam search. Of RANKED the candidates are
        draws at temperature 1 for "sample", else a beam's.
      teller: None for the default one.
      pool: [P, ...], what rows are of; None for the images themselves.
      noise: width of the speaker's noise; it speaks from zero.
      over: as of `speak_all`.
    Yields:
      As `speak_all`; log-probabilities are the speaker's own, of the image alone.
    Raises:
      InputError: as `check_teller`, or the distractors do not fit in memory.
    """
    teller = teller or Teller()
    check_teller(teller, decoding)
    pool = images if pool is None else pool
    key = jax.random.key(0) if key is None else key
    number = rows.shape[1]
    batch = max(1, min(len(images), STREAMS // (1 + number)))
    keys_shape = jax.eval_shape(lambda k: jax.random.split(k, batch), key)

    def shapes(number: int) -> tuple[Any, ...]:
        part, kind = images.shape[1:], images.dtype
        return (
            jax.ShapeDtypeStruct((batch, *part), kind),
            jax.ShapeDtypeStruct((batch, number, *part), kind),
            keys_shape,
        )

    guide_params = None if teller.guide is None else teller.guide[1]

    def compiled(number: int) -> Any:
        speak = telling(speaker, noise, decoding, number, teller)
        return jax.jit(speak).lower(params, guide_params, *shapes(number)).compile()

    speak = compiled(number)
    check_fits(speak, number, "distractors of an image", lambda: compiled(1))

    def one(first: int) -> tuple[np.ndarray, np.ndarray]:
        part = np.minimum(np.arange(first, first + batch), len(images) - 1)
        keys = jax.random.split(jax.random.fold_in(key, first), batch)
        around = np.asarray(pool[rows[part].ravel()]).reshape(batch, number, *images.shape[1:])
        words, log_prob = speak(params, guide_params, np.asarray(images[part]), around, keys)
        left = min(batch, len(images) - first)
        return np.asarray(words)[:left], np.asarray(log_prob)[:left]

    yield from over(one, range(0, len(images), batch))


class _Way(NamedTuple):
    """How captions of a target among distractors are found."""

    speaker: Speaker
    teller: Teller
    method: str  # "greedy", "sample" or "beam"
    samples: int  # K, captions of each target
    width: int  # of a beam
    draw: dict[str, Any]  # temperature and truncation
    common: dict[str, Any]  # max_len, and what is not said


def telling(
    speaker: Speaker, noise: int, decoding: Mapping[str, Any], number: int, teller: Teller
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """What `tell_apart` does with a batch, as one function to be compiled.

    Args:
      number: M, distractors of each image.
      teller: the rationality of emitter-suppressor may be traced.
    Returns:
      (params, the guide's, images [N, ...], others [N, M, ...], keys [N]) -> (words int32[N, K, T],
      log-probabilities float32[N, K]).
    """
    samples = decoding.get("samples", 1)
    way = _Way(
        speaker,
        teller,
        decoding["method"],
        samples,
        width=max(samples, decoding.get("width", WIDTH)),
        draw={name: decoding[name] for name in _DRAW if name in decoding},
        common={
            "max_len": decoding["max_len"],
            "forbid_unknown": decoding.get("forbid_unknown", False),
            "block_trigrams": decoding.get("block_trigrams", False),
        },
    )
    find = _ranked if teller.name in RANKED else _searched

    def context(images: jax.Array, lead: tuple[int, ...]) -> Context:
        return {"image": images} | ({"noise": jnp.zeros((*lead, noise))} if noise else {})

    def speak(params, guide_params, images, others, keys):
        n = images.shape[0]
        target, rest = context(images, (n,)), context(others, (n, number))
        words = find(way, (params, guide_params), target, rest, keys)
        count = words.shape[1]
        seen = jax.tree.map(lambda x: jnp.repeat(x, count, 0), target)
        log_p = log_probs(speaker, params, seen, words.reshape(n * count, -1)).sum(1)
        return words, log_p.reshape(n, count)

    return speak


def _ranked(
    way: _Way, params: tuple[Params, Params], target: Context, others: Context, keys: jax.Array
) -> jax.Array:
    """The best of candidates: words int32[N, K, T]. params: the speaker's and the guide's."""
    teller = way.teller
    drawn = keys if way.method == "sample" else None
    options = {"rationality": teller.rationality, "candidates": teller.candidates, **way.common}
    if teller.name == "introspective":
        found = introspective_speaker(way.speaker, params[0], target, others, drawn, **options)
    else:
        assert teller.guide is not None  # as check_teller sees to
        listener = teller.guide[0]
        found = reasoning_speaker(
            way.speaker, params[0], listener, params[1], target, others, drawn, **options
        )
    return found.words[:, : way.samples]


def _searched(
    way: _Way, params: tuple[Params, Params], target: Context, others: Context, keys: jax.Array
) -> jax.Array:
    """Captions by scores of every word: words int32[N, K, T]. params: as of `_ranked`."""
    incrementally, rationality = way.teller.name == "incremental", way.teller.rationality
    number = others["image"].shape[1]
    pair = (incremental if incrementally else suppressed)(way.speaker, number, rationality)
    seen = together(target, others)
    if way.method == "sample":
        rows = jax.vmap(lambda k: jax.random.split(k, way.samples))(keys).reshape(-1)
        several = repeated(pair, way.samples)
        drawn = sample(several, params[0], seen, rows, **way.draw, **way.common)
        return drawn.words.reshape(keys.shape[0], way.samples, -1)
    if way.method == "greedy":
        return greedy(pair, params[0], seen, **way.common).words[:, None]
    options = {"width": way.width, **way.common}
    if incrementally:
        beams: Captions = beam_search(pair, params[0], seen, **options)
    else:
        beams = emitter_suppressor(
            way.speaker, params[0], target, others, rationality=rationality, **options
        )
    return beams.words[:, : way.samples]
