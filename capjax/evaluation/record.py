"""What are captions worth? All that is measured of them, of a speaker's or of anyone's, as text."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from capjax.data.contents import digest, of_texts
from capjax.data.image_ids import plain
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.speaking import Judged, check_decoding, speak_all
from capjax.errors import InputError
from capjax.evaluation.distractors import Distractors, picked
from capjax.evaluation.verdicts import Judge, evaluator_scores, verdicts
from capjax.metrics.diversity import consensus, diversity
from capjax.metrics.ids import encode
from capjax.metrics.ngrams import ngram_table
from capjax.metrics.official import QUICK, Scores, score_each
from capjax.metrics.protocol import ALL, HELD_OUT, Protocol, hold_out, how_many, score_protocols
from capjax.metrics.retrieval import Score, retrieve
from capjax.metrics.self_retrieval import pairwise_log_probs
from capjax.speaker import Params, Speaker

Texts = Mapping[Any, Sequence[str]]  # {id: texts}


class Evaluation(NamedTuple):
    """What was measured of the captions of N images, S each."""

    scores: dict[str, Any]  # name -> number, and beside them what the numbers are of
    rows: list[dict[str, Any]]  # an image each: id, its caption or captions, references, scores


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
    judge: Judged | None = None,
    judges: Mapping[str, Judge] | None = None,
    concepts: bool = False,
    spoken: Iterable[tuple[np.ndarray, np.ndarray]] | None = None,
    about: Mapping[str, Any] | None = None,
    distractors: Distractors | None = None,
    pool: np.ndarray | None = None,
    retrieval: int = 0,
    scorers: Mapping[str, Score] | None = None,
    progress: bool = False,
    **measures: Any,
) -> Evaluation:
    """Captions every image of a split and measures the captions.

    Beside all that `measure` gives: for generated images the shares of captions that are true, and
    that identify their image among its distractors; and self-retrieval (Dai & Lin, 2017), how the
    speaker itself ranks the images given the (first) caption of each. Each judge gives its E
    (Dai et al., 2017), the mean of r over the captions, under its name, that of people's captions
    as NAME_people, and it too ranks the images; a listener ranks them only.

    Args:
      images: [M, ...], the split's images as the speaker takes them.
      decoding: as in `speak_all`; with "samples", so many captions an image are measured.
      noise, judge, seed: as in `speak_all`; the seed of the draws, where decoding samples.
      judges: evaluators and listeners that judge the captions, by name: "e_ngan", "e_gan".
      concepts: whether the speaker is told the class of each image.
      spoken: the captions, where they are spoken in another way, in batches as of `speak_all`.
      about: what it is that is other, for the tables.
      distractors: which images each is to be told from. Each listener then gives NAME_accuracy@1+D,
        how often it picks the image out of it and its D distractors.
      pool: what the distractors' rows are of; None for the images.
      retrieval: how many images, the split's first, self-retrieval is among; 0 for none.
      scorers: others than the speaker that rank the same images given the same captions, by name.
      measures: as of `measure`.
    """
    check_decoding(decoding, speaker, params, images, noise, judge, concepts)
    check_retrieval(retrieval, len(images))
    words: list[np.ndarray] = []
    key = jax.random.key(seed)
    beside = {"concept": np.asarray(split.concepts, np.int32)} if concepts else {}
    if spoken is None:
        options: dict[str, Any] = {"noise": noise, "judge": judge, "key": key}
        spoken = speak_all(speaker, params, images, decoding, beside=beside, **options)
    with tqdm(total=len(images), desc="captions", unit="image", disable=not progress) as bar:
        for batch, _ in spoken:
            words.extend(batch)
            bar.update(len(batch))
    captions = {
        i: [vocabulary.decode(w) for w in row] for i, row in zip(split.ids, words, strict=True)
    }
    references = dict(zip(split.ids, split.captions, strict=True))
    found = measure(captions, references, **measures)
    if split.truth is not None:
        found.scores.update(_truth(split, found.rows))
    judges = judges or {}
    if distractors is not None:
        found.scores["digests"]["distractors"] = _told_from(split, distractors)
    if retrieval:
        among = sorted(plain(split.ids)[:retrieval])
        found.scores["digests"]["retrieval"] = digest(among)
    for name, one in judges.items():
        if one.picks:
            if distractors is not None:
                seen = images if pool is None else pool
                found.scores.update(_picked(name, one, seen, distractors.rows, found.rows))
            continue
        found.scores.update(_judge(name, one, images, found.rows))
    if retrieval:
        first = np.stack(words[:retrieval])[:, 0]

        def own(captions: Any, images: Any) -> np.ndarray:
            context = {"image": images, **{k: x[:retrieval] for k, x in beside.items()}}
            if noise:
                context["noise"] = np.zeros((retrieval, noise), np.float32)
            return pairwise_log_probs(speaker, params, context, captions, progress=progress)

        texts = [captions[i][0] for i in split.ids[:retrieval]]
        by_judges = {name: _scorer(one, texts) for name, one in judges.items()}
        for name, score in {"self": own, **by_judges, **(scorers or {})}.items():
            told, ranks = retrieve(score, first, np.asarray(images[:retrieval]), name)
            found.scores.update(told)
            for row, rank in zip(found.rows, ranks, strict=False):
                row[f"{name}_retrieval_rank@{retrieval}"] = float(rank)
    found.scores["decoding"] = dict(decoding) | dict(about or {})
    return found


def check_retrieval(retrieval: int, count: int) -> None:
    """Raises InputError where self-retrieval is among more images than there are; 0 is for none."""
    if retrieval and not 2 <= retrieval <= count:
        raise InputError(
            f"retrieval among {retrieval} images needs 2 to {count}, as many as there are"
        )


def measure(
    captions: Texts,
    references: Texts,
    *,
    metrics: Collection[str] = QUICK,
    held_out: bool = False,
    known: Collection[str] | None = None,
    df_source: str = "these references",
) -> Evaluation:
    """Measures captions against references: quality, and how different the captions are.

    Of several captions an image, quality is the mean over them; then there are also what the best
    of them by its CIDEr-D reaches (`oracle_cider_d@S`), what the one closest to the others reaches
    (`consensus_cider_d@S`), and all of `metrics.diversity` with these references' document
    frequencies.

    Args:
      captions: {id: [caption, ...]}, as many of every image.
      references: {id: [reference, ...]} of the same ids.
      metrics: of `score_captions`.
      held_out: whether to score also by the n-1 protocol, and the held-out captions by it: under
        "n-1" and "n-1 human", where every image has two references.
      known: captions trained on: measures `novel`, the share of captions that are none of them.
      df_source: as in `score_captions`.
    Returns:
      Evaluation; scores that do not apply are absent, those that could not be taken None. Beside
      them "digests" tell what was scored: scores of other references, other held-out captions or
      other known captions have others, wherever and in whatever order these lie. Under "notes" is
      said where the tokenizer does not suit the language.
    Raises:
      InputError: as `score_captions`.
    """
    options: dict[str, Any] = {"metrics": metrics, "df_source": df_source, "beside": known or ()}
    single = [i for i, texts in references.items() if len(texts) < 2]
    if held_out and not single:
        protocols = score_protocols(captions, references, **options)
    else:
        every = score_each(captions, references, **options)
        protocols = [Protocol(ALL, f"all {how_many(references)}", every)]
    first, *others = protocols
    official = first.scores
    several = official.n_samples > 1
    rows = [
        {"id": i, **({"captions": list(captions[i])} if several else {"caption": captions[i][0]})}
        | {"references": list(references[i])}
        | {name: values[n].tolist() for name, values in official.each.items()}
        for n, i in enumerate(official.ids)
    ]
    scores: dict[str, Any] = {name: official.total.get(name) for name in official.names}
    if several:
        scores |= _of_several(captions, references, official, rows)
    scores |= _words([captions[i] for i in official.ids], known, official.words)
    scores |= {other.name: _without_notes(other.result()) for other in others}
    scores |= {"references": first.references, "digests": {"references": of_texts(references)}}
    if others:
        scores["digests"]["held_out"] = of_texts(hold_out(references)[0])
    if known is not None:
        scores["digests"]["known"] = digest(sorted({text.strip() for text in known}))
    about = official.result()
    names = ("n_images", "n_samples", "n_wordless", "tokenizer", "df", "versions", "unavailable")
    scores |= {name: about[name] for name in (*names, "notes") if name in about}
    if held_out and single:
        why = (
            f"image {single[0]} has one reference ({len(single)} images like it), none to hold out"
        )
        scores["unavailable"] = scores["unavailable"] | {HELD_OUT: why}
    return Evaluation(scores, rows)


def _of_several(
    captions: Texts, references: Texts, official: Scores, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """What only several captions an image have; their images' share goes into the rows."""
    ids, words, each = official.ids, official.words, official.each
    truth, known = encode([[words[text] for text in references[i]] for i in ids])
    said = jnp.asarray(encode([[words[text] for text in captions[i]] for i in ids], known)[0])
    table = ngram_table(truth)
    found = diversity(said, table)
    scores: dict[str, float] = found.pop("total")
    for name, values in found.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = float(value)
    samples = said.shape[1]
    if "cider_d" in each:
        chosen = np.asarray(consensus(said, table))
        best = each["cider_d"].max(1)
        agreed = each["cider_d"][np.arange(len(ids)), chosen]
        scores[f"oracle_cider_d@{samples}"] = float(best.mean())
        scores[f"consensus_cider_d@{samples}"] = float(agreed.mean())
    return scores


def _words(
    captions: Sequence[Sequence[str]], known: Collection[str] | None, words: Mapping[str, str]
) -> dict[str, Any]:
    """What is said in all: by one caption an image, a mean over them where there are several.

    words: of each text, those that the scores have counted.
    """
    split = [[tuple(words[text].split()) for text in texts] for texts in captions]
    lists = list(zip(*split, strict=True))
    scores: dict[str, Any] = {
        "distinct_words": _mean([len({word for said in one for word in said}) for one in lists]),
        "distinct_captions": _mean([len(set(one)) for one in lists]),
        "mean_length": float(np.mean([len(said) for one in lists for said in one])),
    }
    if known is not None:
        old = {tuple(words[text].split()) for text in known}
        scores["novel"] = float(np.mean([said not in old for one in lists for said in one]))
    return scores


def _without_notes(result: dict[str, Any]) -> dict[str, Any]:
    """Of a protocol beside the first, which has told them."""
    return {name: value for name, value in result.items() if name != "notes"}


def _mean(numbers: Sequence[int]) -> float | int:
    """A count stays one."""
    return numbers[0] if len(numbers) == 1 else float(np.mean(numbers))


def _truth(split: Split, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Marks each caption of a generated image as true or not, as identifying or not."""
    from capjax.data import scenes

    assert split.truth is not None
    for row, truth in zip(rows, split.truth, strict=True):
        said = row.get("captions") or [row["caption"]]
        scene, distractors = truth["scene"], truth["distractors"]
        marks = {"true": [scenes.holds(caption, scene) for caption in said]}
        if distractors:
            marks["identifies"] = [scenes.identifies(text, scene, distractors) for text in said]
        for name, values in marks.items():
            row[name] = values if "captions" in row else values[0]
    names = [name for name in ("true", "identifies") if all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _judge(
    name: str, judge: Judge, images: np.ndarray, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """What an evaluator says of a model's captions and of people's; r goes into the rows."""
    evaluator, params, vocabulary, max_len, others, _ = judge
    seen = images if others is None else others[: len(images)]
    said = [row.get("captions") or [row["caption"]] for row in rows]
    r = verdicts(evaluator, params, vocabulary, seen, said, max_len)
    for row, values in zip(rows, r.tolist(), strict=True):
        row[name] = values if "captions" in row else values[0]
    texts = [row["references"] for row in rows]
    people = verdicts(evaluator, params, vocabulary, seen, texts, max_len)
    return {
        name: float(r.mean(dtype=np.float64)),
        f"{name}_people": float(np.nanmean(people, dtype=np.float64)),
    }


def _picked(
    name: str, judge: Judge, images: np.ndarray, distractors: np.ndarray, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """How often a listener picks the image by its first caption, and by a person's."""
    seen = images if judge.images is None else judge.images
    told = f"accuracy@{1 + distractors.shape[1]}"
    said = [row.get("captions", [row.get("caption")])[0] for row in rows]
    right = picked(judge, seen, distractors, said)
    for row, mark in zip(rows, right.tolist(), strict=True):
        row[f"{name}_{told}"] = mark
    people = picked(judge, seen, distractors, [row["references"][0] for row in rows])
    return {f"{name}_{told}": float(right.mean()), f"{name}_people_{told}": float(people.mean())}


def _told_from(split: Split, distractors: Distractors) -> str:
    """The digest of what each image is told from, and of the caption by which people tell it."""
    count, names = len(split.ids), plain(split.ids)
    rows = [
        (
            *(i, split.captions[n][0]),
            *sorted(names[j] if j < count else "a twin" for j in row),
        )
        for n, (i, row) in enumerate(zip(names, distractors.rows, strict=True))
    ]
    return digest(sorted(rows))


def _scorer(judge: Judge, texts: Sequence[str]) -> Score:
    """An evaluator as a scorer of texts: the captions it is given, in its own words."""

    def score(_: Any, images: Any) -> np.ndarray:
        seen = images if judge.images is None else judge.images[: len(images)]
        return evaluator_scores(judge.evaluator, judge.params, seen, judge.read(texts))

    return score
