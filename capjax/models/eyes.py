"""Eyes for drawn scenes: a small network that tells what up to four objects are, and where."""

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from capjax.data.scenes.drawing import BACKGROUNDS, SIDE
from capjax.data.scenes.layout import CHOICES
from capjax.data.scenes.sight import CELL, CELLS, OBJECTS, UNIT
from capjax.data.scenes.truth import EDGE
from capjax.errors import InputError

KINDS = tuple(len(values) for values in CHOICES.values())
THING = 1 + sum(KINDS) + 2  # numbers that tell of an object: that it is there, what it is, where
SIDES = 4  # of the picture
PAIRS = tuple(combinations(range(len(KINDS)), 2))  # of attributes
TWO = tuple(combinations(range(OBJECTS), 2))  # objects
FEATURES = (
    len(BACKGROUNDS)
    + OBJECTS * (THING + SIDES)
    + 2 * len(TWO)
    + sum(KINDS[a] * KINDS[b] for a, b in PAIRS)
)
REGIONS = OBJECTS + 1  # the last is the background
# Places are rarely spoken of, and are learnt from few captions only where they are not overheard.
LOUD = 4.0
SHARP = 8.0  # how soon a side begins, and the way from one object to another is clear, per UNIT
NO_MORE = -1e9  # the score of a cell whose object has been told of
TRAINED = Path(__file__).with_name("eyes.npz")  # configs/eyes.py tells how they were trained


class Sight(NamedTuple):
    """What eyes make of scenes, object by object, the most prominent first."""

    cell: jax.Array  # float32[N, 4, CELLS + 1], log-probabilities of where the next object is
    attributes: tuple[jax.Array, ...]  # float32[N, 4, values] of each of CHOICES, log-probabilities
    place: jax.Array  # float32[N, 4, 2], x and y from the picture's centre, in UNITs
    background: jax.Array  # float32[N, 4], log-probabilities


class Eyes(nn.Module):
    """A residual network on 8 x 8 cells, each of which tells of the object whose centre it has.

    Objects are picked one after another, as the most prominent cell that has not been picked, until
    "no more" is as likely as any. So what is told of an object does not depend on where it lies,
    and comes in the order in which people name them.
    """

    channels: tuple[int, ...] = (24, 40, 56)  # each at half the resolution of the one before

    def setup(self):
        conv = partial(nn.Conv, kernel_size=(3, 3), use_bias=False)
        self.narrower = [conv(width, strides=(2, 2)) for width in self.channels]
        self.norms = [nn.LayerNorm() for _ in self.channels]
        self.blocks = [[conv(width), conv(width)] for width in self.channels[1:]]
        self.block_norms = [[nn.LayerNorm(), nn.LayerNorm()] for _ in self.channels[1:]]
        self.tell = nn.Dense(THING)
        self.tell_background = nn.Dense(len(BACKGROUNDS))
        self.none = self.param("none", nn.initializers.zeros, ())

    def cells(self, pixels):
        """uint8[N, 64, 64, 3] -> float32[N, CELLS, channels]."""
        x = pixels.astype(jnp.float32) / 127.5 - 1
        for i, (narrower, norm) in enumerate(zip(self.narrower, self.norms, strict=True)):
            x = nn.relu(norm(narrower(x)))
            if i:
                (first, second), norms = self.blocks[i - 1], self.block_norms[i - 1]
                x = nn.relu(x + norms[1](second(nn.relu(norms[0](first(x))))))
        return x.reshape(x.shape[0], CELLS, x.shape[-1])

    def look(self, pixels, given=None):
        """What is seen in pixels uint8[N, 64, 64, 3]: a Sight.

        given: int32[N, 4], the cells of the objects, as of `scenes.sight.seen`; those that are told
        of then, whatever the eyes would have picked.
        """
        cells = self.cells(pixels)
        told = self.tell(cells)
        score = jnp.pad(told[..., 0], ((0, 0), (0, 1))).at[:, CELLS].set(self.none)
        where, picked = [], []
        for slot in range(OBJECTS):
            where.append(jax.nn.log_softmax(score))
            pick = score[:, :CELLS].argmax(1) if given is None else given[:, slot]
            picked.append(jax.nn.one_hot(pick, CELLS))  # of "no more" all 0
            score = score.at[:, :CELLS].set(jnp.where(picked[-1] > 0, NO_MORE, score[:, :CELLS]))
        chosen = jnp.stack(picked, 1)  # [N, 4, CELLS]
        things = jnp.einsum("nsc,ncd->nsd", chosen, told[..., 1:])
        *kinds, offset = jnp.split(things, np.cumsum(KINDS), axis=-1)
        column = jnp.arange(SIDE // CELL, dtype=jnp.float32)
        middle = (column + 0.5) * (CELL / UNIT) - SIDE / UNIT / 2
        middles = jnp.stack(jnp.meshgrid(middle, middle), -1).reshape(CELLS, 2)
        return Sight(
            jnp.stack(where, 1),
            tuple(jax.nn.log_softmax(kind) for kind in kinds),
            chosen @ middles + offset * (CELL / 2 / UNIT),
            jax.nn.log_softmax(self.tell_background(cells.mean(1))),
        )

    def __call__(self, pixels):
        """Features of pixels uint8[N, 64, 64, 3]: float32[N, FEATURES].

        Probabilities of each background; then of each object that it is there and, times that, what
        it is, its place, and the side of the picture that it is on; of each two objects which way
        one lies of the other; and, wherever they are, how many objects to expect of each two
        values of two attributes, such as red circles. So what a phrase of a caption states can be
        found in one number.
        """
        return self.objects(pixels).mean(1)

    def objects(self, pixels):
        """What each object, and the background, gives the features: float32[N, REGIONS, FEATURES].

        Their mean is the features: of the four objects, the most prominent first, and of what is
        behind them.
        """
        sight = self.look(pixels)
        there = -jnp.expm1(sight.cell[..., CELLS:])  # [N, 4, 1]
        kinds = [jnp.exp(kind) for kind in sight.attributes]
        edge = SIDE / UNIT * (0.5 - EDGE)
        far = LOUD * jax.nn.sigmoid(SHARP * jnp.stack([sight.place - edge, -sight.place - edge]))
        of_each = [*kinds, sight.place, *far]
        things = jnp.concatenate([there, *(x * there for x in of_each)], -1)
        one, other = (np.array(ends) for ends in zip(*TWO, strict=True))
        apart = sight.place[:, one] - sight.place[:, other]
        way = LOUD * jnp.tanh(SHARP / 4 * apart) * there[:, other]
        both = [jnp.einsum("nsa,nsb->nsab", kinds[a] * there, kinds[b]) for a, b in PAIRS]
        # Each object's own numbers in its own columns; a way belongs to both, a half to each.
        own = jnp.einsum("nsd,sk->nskd", things, jnp.eye(OBJECTS))
        ends = np.eye(OBJECTS)[:, one] / 2 + np.eye(OBJECTS)[:, other] / 2
        ways = jnp.einsum("npd,sp->nspd", way, ends)
        behind = jnp.exp(sight.background)
        parts = [jnp.zeros((*things.shape[:2], behind.shape[1])), own, ways, *both]
        parts = [part.reshape(*part.shape[:2], -1) for part in parts]
        last = jnp.pad(behind, ((0, 0), (0, FEATURES - behind.shape[1])))
        return REGIONS * jnp.concatenate([jnp.concatenate(parts, -1), last[:, None]], 1)


def eyes(path: Path = TRAINED, *, objects: bool = False) -> Any:
    """Eyes that were trained, as a jitted function, images uint8 [N, 64, 64, 3] -> [N, FEATURES].

    objects: whether each object's are told by themselves: [N, REGIONS, FEATURES].
    Raises InputError where the file is not what it should be.
    """
    told = partial(Eyes().apply, method=Eyes.objects if objects else None)
    return partial(jax.jit(told), jax.device_put(read_eyes(path)))


def write_eyes(params: Any, path: Path) -> None:
    """Writes the parameters {"params": ...} of `Eyes` as arrays of float16, by name."""
    flat = flatten_dict(jax.device_get(params), sep="/")
    half: Any = {name: np.asarray(x, np.float16) for name, x in flat.items()}
    np.savez(path, **half)


def read_eyes(path: Path = TRAINED) -> Any:
    """The parameters of `Eyes` out of a file of `write_eyes`, float32.

    Raises InputError where the file is not what it should be.
    """
    blank = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), np.uint8)
    form = jax.eval_shape(partial(Eyes().init, method=Eyes.look), jax.random.key(0), blank)
    form = flatten_dict(form, sep="/")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            flat = {name: np.asarray(file[name], np.float32) for name in file.files}
    except Exception as error:  # a damaged archive raises many kinds
        raise InputError(f"the eyes {path} are damaged ({error}); install capjax again") from error
    if {k: x.shape for k, x in flat.items()} != {k: x.shape for k, x in form.items()}:
        raise InputError(f"the eyes {path} are not those of this capjax; install it again")
    return unflatten_dict(flat, sep="/")


def look(params: Any, pixels: Any, given: Any = None) -> Sight:
    """What `Eyes` see in pixels uint8[N, 64, 64, 3]; given: as of `Eyes.look`."""
    return Eyes().apply(params, pixels, given, method=Eyes.look)  # type: ignore[return-value]
