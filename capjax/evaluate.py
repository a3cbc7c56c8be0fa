"""`python -m capjax.evaluate --workdir=DIR --split=val`: captions of a split, and their scores."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from capjax.data.prepare import encoder_named, prepare
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.metrics.official import score_each
from capjax.speaker import Params, Speaker
from capjax.speaking import METHODS, check_decoding, speak_all
from capjax.workdir import open_run, write_json


class Evaluation(NamedTuple):
    """The captions of a split's images, one each, and what was measured of them."""

    scores: dict[str, Any]  # name -> number, and under "unavailable" what could not be measured
    rows: list[dict[str, Any]]  # an image each: id, caption, references, its scores


def evaluate(
    speaker: Speaker,
    params: Params,
    vocabulary: Vocabulary,
    split: Split,
    images: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    noise: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Captions every image of a split and scores the captions against all its references.

    Scores are BLEU, ROUGE-L and CIDEr-D (pycocoevalcap; document frequencies of these references),
    how many different words and captions were said, the mean length, and for generated images the
    shares of captions that are true and that identify their image among its distractors.

    Args:
      images: [M, ...], the split's images as the speaker takes them.
      decoding: as in `speak_all`; of several captions an image the first is scored.
      seed: of the draws, where decoding samples.
    """
    check_decoding(decoding, speaker, params, images, noise)
    words: list[np.ndarray] = []
    batches = speak_all(speaker, params, images, decoding, noise=noise, key=jax.random.key(seed))
    with tqdm(total=len(images), desc="captions", unit="image", disable=not progress) as bar:
        for batch in batches:
            words.extend(batch[:, 0])
            bar.update(len(batch))
    captions = [vocabulary.decode(w) for w in words]
    references = dict(zip(split.ids, split.captions, strict=True))
    scored = score_each(dict(zip(split.ids, ([c] for c in captions), strict=True)), references)
    rows = [
        {"id": i, "caption": caption, "references": list(references[i])}
        | {name: float(values[n]) for name, values in scored.each.items()}
        for n, (i, caption) in enumerate(zip(split.ids, captions, strict=True))
    ]
    lengths = [len(caption.split()) for caption in captions]
    scores: dict[str, Any] = {
        **scored.total,
        "distinct_words": len({word for caption in captions for word in caption.split()}),
        "distinct_captions": len(set(captions)),
        "mean_length": float(np.mean(lengths)),
    }
    if split.truth is not None:
        scores |= _judge(split, captions, rows)
    scores |= {
        "n_images": len(captions),
        "decoding": dict(decoding),
        "references": "all",
        "df": f"these references, N={len(captions)}",
        "tokenizer": scored.tokenizer,
        "unavailable": scored.unavailable,
    }
    return Evaluation(scores, rows)


def _judge(split: Split, captions: Sequence[str], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Marks each caption of a generated image as true or not, as identifying or not."""
    from capjax.data import scenes

    assert split.truth is not None
    for row, caption, truth in zip(rows, captions, split.truth, strict=True):
        row["true"] = scenes.holds(caption, truth["scene"])
        if truth["distractors"]:
            row["identifies"] = scenes.identifies(caption, truth["scene"], truth["distractors"])
    shares = {"true": float(np.mean([row["true"] for row in rows]))}
    told = [row["identifies"] for row in rows if "identifies" in row]
    return shares | ({"identifies": float(np.mean(told))} if told else {})


def show(scores: Mapping[str, Any], title: str) -> str:
    """Scores as a table for a terminal."""
    lines = [title]
    for name, value in scores.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        lines.append(
            f"  {name:18} {value:>10.4f}"
            if isinstance(value, float)
            else f"  {name:18} {value:>10}"
        )
    lines += [f"  {name:18} {'-':>10}  {why}" for name, why in scores["unavailable"].items()]
    return "\n".join(lines)


def write_evaluation(workdir: Path, split: str, found: Evaluation) -> tuple[Path, Path]:
    """Writes `captions.json` and `scores.json` (val), or `captions-SPLIT.json` and so on."""
    mark = "" if split == "val" else f"-{split}"
    captions, scores = workdir / f"captions{mark}.json", workdir / f"scores{mark}.json"
    write_json(captions, found.rows)
    write_json(scores, {"split": split} | found.scores)
    return captions, scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="capjax.evaluate", description=__doc__)
    parser.add_argument("--workdir", required=True, help="the folder of a training run")
    parser.add_argument("--split", default="val", help="train, val or test")
    parser.add_argument("--decoding", choices=METHODS, help="default: as the recipe says")
    parser.add_argument("--width", type=int, help="beam width")
    parser.add_argument("--seed", type=int, default=0, help="of the draws of --decoding=sample")
    parser.add_argument("--path", help="where the dataset lies, if it has moved")
    parser.add_argument("--cache", help="where what was made of datasets is kept")
    flags = parser.parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        run = open_run(flags.workdir)
        data = run.config["data"]
        decoding = decoding_of(run.config, flags.decoding, flags.width)
        encoder = encoder_named(data["encoder"])
        prepared = prepare(
            data["name"], flags.path or data["path"], flags.cache or data["cache"], encoder
        )
        if flags.split not in prepared.splits:
            raise InputError(
                f"{data['name']} has no split {flags.split!r}; it has {', '.join(prepared.splits)}"
            )
        found = evaluate(
            run.speaker,
            run.params,
            run.vocabulary,
            prepared.splits[flags.split],
            prepared.images[flags.split],
            decoding,
            noise=run.config["noise"],
            seed=flags.seed,
            progress=True,
        )
        found.scores["step"] = run.step
        paths = write_evaluation(Path(flags.workdir), flags.split, found)
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    print(show(found.scores, f"{flags.split} of {data['name']}, {spell(decoding)}"))
    print(f"captions: {paths[0]}\nscores:   {paths[1]}")
    return 0


def decoding_of(
    config: Mapping[str, Any], method: str | None = None, width: int | None = None
) -> dict[str, Any]:
    """A recipe's decoding, or another method with the recipe's length.

    Raises InputError where a width is given that does not fit.
    """
    decoding = dict(config["decoding"])
    if method and method != decoding["method"]:
        decoding = {"method": method, "max_len": decoding["max_len"]}
        decoding |= {"beam": {"width": 3}, "sample": {"samples": 1}}.get(method, {})
    if width is not None:
        if decoding["method"] != "beam" or width < 1:
            raise InputError(f"--width={width} needs --decoding=beam and at least 1")
        decoding["width"] = width
    return decoding


def spell(decoding: Mapping[str, Any]) -> str:
    """A decoding in words."""
    rest = ", ".join(f"{name} {value}" for name, value in decoding.items() if name != "method")
    return f"{decoding['method']} ({rest})"


if __name__ == "__main__":
    sys.exit(main())
