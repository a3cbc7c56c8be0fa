"""What are a speaker's captions worth? As text, as true of drawn images, and to judges."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.contents import digest
from capjax.data.image_ids import plain
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.speaking import Judged, check_decoding, speak_all
from capjax.errors import InputError
from capjax.evaluation.by_judges import judged, picked_among, scorer
from capjax.evaluation.distractors import Distractors, digest_of
from capjax.evaluation.text_measures import Evaluation, measure
from capjax.evaluation.truth import truth_of
from capjax.evaluation.verdicts import Judge
from capjax.metrics.retrieval import Score, retrieve
from capjax.metrics.self_retrieval import pairwise_log_probs
from capjax.parallel import by_first, processes, shared_out
from capjax.speaker import Params, Speaker
from capjax.terminal.progress import Progress

Spoken = Iterable[tuple[np.ndarray, np.ndarray]]  # captions in batches, as of `speak_all`


class Captioner(NamedTuple):
    """A speaker with all that it speaks by."""

    speaker: Speaker
    params: Params
    vocabulary: Vocabulary
    noise: int = 0  # width of its noise
    judge: Judged | None = None  # what decoding asks, as of `speak_all`
    concepts: bool = False  # whether it is told the class of each image

    def check(self, decoding: Mapping[str, Any], images: np.ndarray | jax.ShapeDtypeStruct) -> None:
        """Raises InputError where it cannot speak so of images, or of such a form."""
        speaker, params = self.speaker, self.params
        check_decoding(decoding, speaker, params, images, self.noise, self.judge, self.concepts)

    def beside(self, split: Split) -> dict[str, np.ndarray]:
        """What it is told beside the images of a split."""
        return {"concept": np.asarray(split.concepts, np.int32)} if self.concepts else {}


class Answer(NamedTuple):
    """What a captioner says where more is asked of it than to caption images."""

    captions: Spoken | None = None  # None: as it speaks anyway
    about: Mapping[str, Any] = {}  # what was asked, for the tables
    distractors: Distractors | None = None  # what each image was to be told from
    asked_own: bool = False  # whether its own judge helped, which then cannot judge


def evaluate(
    captioner: Captioner,
    split: Split,
    images: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    seed: int = 0,
    answer: Answer | None = None,
    judges: Mapping[str, Judge] | None = None,
    retrieval: int = 0,
    progress: bool = False,
    **measures: Any,
) -> Evaluation:
    """Captions every image of a split and measures the captions.

    Beside all that `measure` gives, of paragraphs where the vocabulary is one of theirs: for
    generated images the shares of captions that are true, and that identify their image among its
    distractors; and self-retrieval (Dai & Lin, 2017), how the speaker itself ranks the images given
    the (first) caption of each. Each judge gives its E (Dai et al., 2017), the mean of r over the
    captions, under its name, that of people's captions as NAME_people, and it too ranks the images;
    a listener ranks them only, and of images with D distractors gives NAME_accuracy@1+D, how often
    it picks the image out of it and them.

    Args:
      images: [M, ...], the split's images as the speaker takes them.
      decoding: as in `speak_all`; with "samples", so many captions an image are measured.
      seed: of the draws, where decoding samples.
      answer: the captions, where they are spoken in another way.
      judges: evaluators and listeners that judge the captions, by name: "e_ngan", "e_gan".
      retrieval: how many images, the split's first, self-retrieval is among; 0 for none.
      measures: as of `measure`.
    """
    captioner.check(decoding, images)
    check_retrieval(retrieval, len(images))
    answer, judges = answer or Answer(), judges or {}
    progress = progress and processes.first()
    spoken = answer.captions
    if spoken is None:
        spoken = _speak(captioner, split, images, decoding, seed)
    words = _collected(spoken, len(images), progress)
    decode = captioner.vocabulary.decode
    captions = {i: [decode(w) for w in row] for i, row in zip(split.ids, words, strict=True)}
    references = dict(zip(split.ids, split.captions, strict=True))
    # Java runs on one machine.
    measures = {"paragraphs": captioner.vocabulary.sentences} | measures
    scores, rows = found = by_first(lambda: measure(captions, references, **measures))
    if split.truth is not None:
        scores.update(truth_of(split, rows, paragraphs=captioner.vocabulary.sentences))
    if answer.distractors is not None:
        scores["digests"]["distractors"] = digest_of(split, answer.distractors)
    if retrieval:
        scores["digests"]["retrieval"] = digest(sorted(plain(split.ids)[:retrieval]))
    for name, judge in judges.items():
        if not judge.picks:
            scores.update(judged(name, judge, images, rows))
        elif answer.distractors is not None:
            scores.update(picked_among(name, judge, images, answer.distractors, rows))
    if retrieval:
        first = np.stack(words[:retrieval])[:, 0]
        scores.update(_retrieval(captioner, split, images, first, judges, rows, progress))
    scores["decoding"] = dict(decoding) | dict(answer.about)
    return found


def check_retrieval(retrieval: int, count: int) -> None:
    """Raises InputError where self-retrieval is among more images than there are; 0 is for none."""
    if retrieval and not 2 <= retrieval <= count:
        raise InputError(
            f"retrieval among {retrieval} images needs 2 to {count}, as many as there are"
        )


def _speak(
    captioner: Captioner,
    split: Split,
    images: np.ndarray,
    decoding: Mapping[str, Any],
    seed: int,
) -> Spoken:
    return speak_all(
        captioner.speaker,
        captioner.params,
        images,
        decoding,
        noise=captioner.noise,
        key=jax.random.key(seed),
        judge=captioner.judge,
        beside=captioner.beside(split),
        over=shared_out,
    )


def _collected(spoken: Spoken, count: int, progress: bool) -> list[np.ndarray]:
    """The words of each image, int32[S, T]."""
    words: list[np.ndarray] = []
    with Progress(count, "captions", "images", shown=progress) as bar:
        for batch, _ in spoken:
            words.extend(batch)
            bar.update(len(batch))
    return words


def _retrieval(
    captioner: Captioner,
    split: Split,
    images: np.ndarray,
    words: np.ndarray,
    judges: Mapping[str, Judge],
    rows: list[dict[str, Any]],
    progress: bool,
) -> dict[str, float]:
    """How the speaker and the judges rank images by their captions; the ranks go into the rows.

    words: int32[J, T], a caption of each of the first J images, which they are among.
    """
    number, noise = len(words), captioner.noise
    beside = {name: x[:number] for name, x in captioner.beside(split).items()}
    if noise:
        beside["noise"] = np.zeros((number, noise), np.float32)

    def own(captions: Any, images: Any) -> np.ndarray:
        context = {"image": images, **beside}
        speaker, params = captioner.speaker, captioner.params
        return pairwise_log_probs(
            speaker, params, context, captions, progress=progress, over=shared_out
        )

    texts = [captioner.vocabulary.decode(w) for w in words]
    scorers: dict[str, Score] = {name: scorer(judge, texts) for name, judge in judges.items()}
    scores: dict[str, float] = {}
    for name, score in {"self": own, **scorers}.items():
        recalls, ranks = retrieve(score, words, np.asarray(images[:number]), name)
        scores |= recalls
        for row, rank in zip(rows, ranks, strict=False):
            row[f"{name}_retrieval_rank@{number}"] = float(rank)
    return scores
