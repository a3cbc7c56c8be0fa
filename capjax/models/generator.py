"""Generators: captioners behind the Speaker contract."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from capjax.agreement import agree, check_captions, spec
from capjax.models.attention import Adaptive, Att2in
from capjax.models.captioner import Captioner
from capjax.models.dense import check_dtype
from capjax.models.image_kind import blank_image, check_image, check_images, check_vocab_size
from capjax.models.nic import NIC
from capjax.models.recite import reciter
from capjax.speaker import Speaker

CELLS = {"nic": NIC, "att2in": Att2in, "adaptive": Adaptive}


def generator(
    vocab_size: int,
    image: tuple,
    *,
    cell: str = "nic",
    dim: int = 512,
    noise: int = 0,
    concepts: int = 0,
    dropout: float = 0.5,
    input_dropout: float = 0.0,
    dtype: Any = jnp.float32,
    sight: str = "convnet",
) -> Speaker:
    """A captioner to train, as a Speaker.

    "nic" takes the image in once (Vinyals et al., 2015, in the form of Dai et al., 2017); "att2in"
    (Rennie et al., 2017) and "adaptive" (Lu et al., 2017) look at its regions at every word.

    Args:
      vocab_size: number of ids, the end and the unknown word included.
      image: what `context["image"]` holds: ("features", D) for float[N, D], ("regions", R, D) for
        float[N, R, D], ("pixels", H, W) for uint8[N, H, W, 3], H and W multiples of 16.
      cell: "nic", "att2in" or "adaptive"; the last two take regions or pixels.
      dim: width of embeddings, LSTM and hidden states.
      noise: width Z of `context["noise"]` float[N, Z]; 0 for none.
      concepts: number of classes of `context["concept"]` int32[N]; 0 for none.
      dropout: share of hidden units dropped where the context has `dropout` keys.
      input_dropout: the same of the LSTM's inputs, the image's and the words'.
      dtype: of the factors of matrix products, which add up in float32, as all else is; bfloat16
        is faster where the processor has units for it.
      sight: the network that looks at pixels, "convnet" or, on 64 x 64, "eyes" (`Eyes`).
    Raises:
      ValueError: an unknown cell, kind of image, dtype or sight, or a size that does not fit.
    """
    if cell not in CELLS:
        raise ValueError(f"cell {cell!r} is unknown; choose one of {', '.join(CELLS)}")
    check_captioner(vocab_size, image, dim, noise, concepts, dropout, input_dropout, dtype, sight)
    if CELLS[cell].regional and image[0] == "features":
        raise ValueError(
            f"cell {cell!r} looks at regions, and image {image!r} has none; give it"
            ' ("regions", R, D) or ("pixels", H, W)'
        )
    if CELLS[cell].regional and sight == "eyes":
        raise ValueError(f"cell {cell!r} looks at regions, and sight 'eyes' tells of none")
    module = CELLS[cell](
        vocab_size, tuple(image), dim, concepts, dropout, input_dropout, dtype, noise, sight
    )
    return speaker_of(module, partial(module.apply, method=module.start), reciter(module))


def check_captioner(
    vocab_size: int,
    image: tuple,
    dim: int,
    noise: int,
    concepts: int,
    dropout: float,
    input_dropout: float,
    dtype: Any,
    sight: str,
) -> None:
    """Raises ValueError where what any captioner is made of is unknown or does not fit."""
    check_image(image, sight)
    check_dtype(dtype)
    check_vocab_size(vocab_size)
    if vocab_size < 2 or dim < 1 or not 0 <= dropout < 1 or not 0 <= input_dropout < 1:
        raise ValueError(
            f"vocab_size={vocab_size}, dim={dim}, dropout={dropout}, input_dropout={input_dropout}"
            " do not fit"
        )
    if noise < 0 or concepts < 0:
        raise ValueError(f"noise={noise} and concepts={concepts} must be at least 0")


def speaker_of(module: Captioner, begin: Callable, recite: Callable | None) -> Speaker:
    """A captioner's functions of its parameters.

    begin: (params, context) -> (memory, carry), of a context that holds what it should.
    """
    image, noise, concepts = module.image, module.noise, module.concepts

    def init(key):
        context = {"image": blank_image(image)}
        if noise:
            context["noise"] = jnp.zeros((1, noise))
        if concepts:
            context["concept"] = jnp.zeros(1, jnp.int32)
        return module.init(key, context, method=module.speak)

    def start(params, context):
        wanted = {"image"} | ({"noise"} if noise else set()) | ({"concept"} if concepts else set())
        if missing := wanted - set(context):
            raise ValueError(f"the context lacks {sorted(missing)}, which this generator reads")
        context = {name: context[name] for name in wanted | ({"dropout"} & set(context))}
        agree(context=context)
        check_images(image, context)
        if noise and context["noise"].shape[1:] != (noise,):
            raise ValueError(
                f"context['noise'] is {spec(context['noise'])}, and this generator reads"
                f" float[N, {noise}]"
            )
        if concepts:
            check_captions(context["concept"], "N", "context['concept']", concepts)
        return begin(params, context)

    def step(params, memory, carry, words):
        return module.apply(params, memory, carry, words, method=module.step)

    def logits(params, hidden):
        return module.apply(params, hidden, method=module.logits)

    return Speaker(init, start, step, logits, recite)
