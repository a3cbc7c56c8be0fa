"""A run that is ready to answer: whatever is dragged on the page, nothing is compiled twice.

What a slider moves is an argument of a program, never a constant in it.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.feature_files import PREFIX
from capjax.decoding.speaking import decoder
from capjax.decoding.telling_apart import WIDTH, Teller, telling
from capjax.evaluation.lifted_words import lifts, shaded_words, without_noise
from capjax.report.pairs import Shaded
from capjax.run import Trained

MOST_DRAWN = 20  # captions that are always drawn, of which the first are shown
NOISES = 10
DISTRACTORS = 4  # at most; each number of them is a program
GROUPS, WIDE = 3, 6  # of diverse beam search


class How(NamedTuple):
    """What of plain captions can be dragged."""

    temperature: float = 0.5
    top_p: float = 1.0
    number: int = 10  # of the drawn captions that count
    diversity: float = 0.5  # nats
    seed: int = 0


class Told(NamedTuple):
    """A caption that tells an image from others."""

    text: str
    shaded: Shaded


class Ready:
    """A run, and its programs for one image."""

    def __init__(self, name: str, run: Trained) -> None:
        self.name, self.run = name, run
        self._programs: dict[str, Any] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        own = run.recipe.decoding
        self._common = {"max_len": own["max_len"], "forbid_unknown": True}
        if own.get("block_trigrams"):
            self._common["block_trigrams"] = True
        self._width = own.get("width", WIDTH) if own["method"] == "beam" else WIDTH

    @property
    def encoder(self) -> str:
        return self.run.recipe.data.encoder

    @property
    def takes_photos(self) -> bool:
        """Whether it has an encoder of its own, and not only features made elsewhere."""
        return not self.encoder.startswith(PREFIX)

    def beam(self, image: np.ndarray) -> list[tuple[str, float]]:
        """The captions that beam search finds, best first, with their log-probabilities."""
        decoding = {"method": "beam", "width": self._width, "samples": self._width}
        return self._texts(self._spoken("beam", decoding, image))

    def diverse(self, image: np.ndarray, diversity: float) -> list[tuple[str, float]]:
        """The captions of diverse beam search (Vijayakumar et al., 2018), best first."""
        decoding = {"method": "beam", "width": WIDE, "groups": GROUPS, "samples": WIDE}
        spoken = self._spoken("diverse", decoding, image, {"diversity": diversity})
        return self._texts(spoken)

    def drawn(self, image: np.ndarray, how: How) -> list[tuple[str, float]]:
        """Drawn captions, the same as `capjax.caption` draws with this seed."""
        law = self.run.recipe.decoding.get("noise_law", "zero")
        decoding = {"method": "sample", "samples": MOST_DRAWN, "noise_law": law}
        moved = {"temperature": how.temperature, "top_p": how.top_p}
        spoken = self._spoken("drawn", decoding, image, moved, seed=how.seed)
        return self._texts(spoken)[: how.number]

    def noisy(self, image: np.ndarray, seed: int) -> list[tuple[str, float]]:
        """What noise alone changes: the likeliest words, each caption from a noise of its own."""
        decoding = {"method": "greedy", "noise_law": self.run.recipe.noise_law}
        return self._texts(self._spoken("noisy", decoding, image, copies=NOISES, seed=seed))

    def apart(self, image: np.ndarray, others: np.ndarray, rationality: float) -> Told:
        """A caption of an image [...] that tells it from M others [M, ...], by emitter-suppressor.

        Args:
          others: at most DISTRACTORS.
          rationality: from 0 to 1.
        """
        number = len(others)
        words, lifted = self._call(
            f"apart {number}",
            partial(self._tell, number),
            np.asarray(image)[None],
            np.asarray(others)[None],
            np.float32(rationality),
        )
        shaded = shaded_words(self.run.vocabulary, words, lifted)
        return Told(self.run.vocabulary.decode(words), shaded)

    def warm(self, image: np.ndarray) -> None:
        """Compiles every program, those first that are needed first; image: any, as it sees one."""
        self.drawn(image, How())
        self.beam(image)
        self.diverse(image, 0.5)
        if self.run.recipe.noise:
            self.noisy(image, 0)
        for number in (DISTRACTORS, *range(1, DISTRACTORS)):
            self.apart(image, np.stack([image] * number), 0.5)

    def _spoken(
        self,
        name: str,
        decoding: dict[str, Any],
        image: np.ndarray,
        moved: dict[str, float] | None = None,
        copies: int = 1,
        seed: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        run = self.run

        def speak(params, images, key, moved):
            whole = {**decoding, **self._common, **moved}
            return decoder(run.speaker, None, run.recipe.noise, whole)(
                params, None, images, {}, key
            )

        # `speak_all` folds the row of its first image, 0, into the key.
        key = jax.random.fold_in(jax.random.key(seed), 0)
        numbers = {setting: np.float32(value) for setting, value in (moved or {}).items()}
        images = np.repeat(np.asarray(image)[None], copies, 0)
        return self._call(name, speak, images, key, numbers)

    def _tell(self, number: int, params, image, others, rationality):
        """(words int32[T], their lifts float32[T]) of one image [1, ...] and others [1, M, ...]."""
        run = self.run
        decoding = {"method": "beam", "width": self._width, **self._common}
        noise, teller = run.recipe.noise, Teller(rationality=rationality)
        speak = telling(run.speaker, noise, decoding, number, teller)
        words, _ = speak(params, None, image, others, jax.random.split(jax.random.key(0), 1))
        target = without_noise(image, (1,), noise)
        rest = without_noise(others, (1, number), noise)
        best = words[:, 0]
        return best[0], lifts(run.speaker, params, target, rest, best)[0]

    def _call(self, name: str, function: Callable, *args: Any) -> Any:
        """A program of (the speaker's parameters, *args), compiled when it is first asked for."""
        program = self._programs.get(name)
        if program is None:
            with self._locks[name]:  # of two who ask at once the second waits
                program = self._programs.get(name)
                if program is None:
                    lowered = jax.jit(function).lower(self.run.params, *args)
                    program = self._programs[name] = lowered.compile()
        return jax.tree.map(np.asarray, program(self.run.params, *args))

    def _texts(self, spoken: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, float]]:
        words, log_prob = (x.reshape(-1, *x.shape[2:]) for x in spoken)
        decode = self.run.vocabulary.decode
        pairs = zip(words, log_prob, strict=True)
        return [(decode(ids), float(score)) for ids, score in pairs if score > -np.inf]
