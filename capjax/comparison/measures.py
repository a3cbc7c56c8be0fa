"""What does a measure tell, which way is better, and which flags of evaluate give it?"""

import re
from typing import NamedTuple

QUALITY, DIVERSITY, DISTINCTIVENESS, OTHER = "quality", "diversity", "distinctiveness", "other"
JUDGES = ("listener", "e_ngan")  # of other runs: what --listener and --evaluator name
GROUPS = (QUALITY, DIVERSITY, DISTINCTIVENESS, OTHER)
# What some measures depend on besides the references and the images, by the name of its digest.
OF_DIGEST = {"known": "training captions", "retrieval": "images", "questions": "questions"}


class Measure(NamedTuple):
    """A measure of captions: what it tells and how to read it."""

    name: str
    group: str  # one of GROUPS
    better: int  # 1: higher is better; -1: lower is; 0: neither
    rank: int  # its place among the measures
    mend: str  # what gives it where a file lacks it; "" for what every evaluation has
    of_samples: bool  # whether it depends on how many captions an image there are
    detail: bool  # whether it is in the CSV only, not to crowd the tables

    @property
    def of_distractors(self) -> bool:
        """Whether it depends on which distractors each image is told from."""
        return self.mend == _PICKED

    @property
    def of_own_judge(self) -> bool:
        """Whether each run has its own judge of it, so that it says nothing between runs."""
        return self.mend == _OWN

    @property
    def judge(self) -> str:
        """Which judge it depends on, "listener" or "e_ngan"; "" where the run's own, or none."""
        judges = (kind for kind in JUDGES if self.name == kind or self.name.startswith(f"{kind}_"))
        return next(judges, "")

    @property
    def depends(self) -> str:
        """What it depends on that other measures do not: the name of a digest, or ""."""
        if self.name == "novel":
            return "known"
        if self.name == "justifies":
            return "questions"
        return "retrieval" if self.mend == _RETRIEVAL else ""

    @property
    def reading(self) -> str:
        """Which way is better, in words; "" where neither is."""
        return {1: "higher is better", -1: "lower is better", 0: ""}[self.better]


_FULL = "evaluate without --quick"
_SAMPLES = "it needs several captions an image: evaluate with --samples=5"
_RETRIEVAL = "evaluate with --retrieval=1000"
_PICKED = "evaluate with --distractors=1 --listener=RUN"
_OTHERS = "evaluate with --evaluator=RUN, a run of configs/evaluator.py"
_OWN = "a run that trained an evaluator has it"
_SCENES = "it is measured on scenes only"
_PARAGRAPHS = "of paragraphs only; of those in a file: evaluate with --paragraphs"
_TRUE_PARAGRAPHS = "it is measured on paragraphs of scenes only"
_DETAILS = r"div[3-9]|div\d_ngram|mbleu[1-3]_\w+|effective|vocabulary"
# In the order of the columns: pattern of the name, group, better, mend.
_KNOWN = [
    (r"bleu_\d", QUALITY, 1, ""),
    (r"meteor\w*", QUALITY, 1, _FULL),
    (r"rouge_l", QUALITY, 1, ""),
    (r"cider(_d)?", QUALITY, 1, ""),
    (r"spice|spider", QUALITY, 1, _FULL),
    (r"oracle_.*", QUALITY, 1, _SAMPLES),
    (r"consensus_.*", QUALITY, 1, _SAMPLES),
    (r"e_ngan", QUALITY, 1, _OTHERS),
    (r"e_ngan_people", QUALITY, 0, _OTHERS),  # the same whatever the model says
    (r"e_gan", QUALITY, 0, _OWN),  # each run has its own judge: not to be compared between runs
    (r"e_gan_people", QUALITY, 0, _OWN),
    (r"true", QUALITY, 1, _SCENES),
    (r"true_sentences", QUALITY, 1, _TRUE_PARAGRAPHS),
    (r"covered", QUALITY, 1, _TRUE_PARAGRAPHS),
    (r"contradictions", QUALITY, -1, _TRUE_PARAGRAPHS),
    (r"repeated_trigrams", DIVERSITY, -1, _PARAGRAPHS),
    (r"sentence_mbleu\d", DIVERSITY, -1, _PARAGRAPHS),
    (r"sentence_self_cider", DIVERSITY, 1, _PARAGRAPHS),
    (r"distinct_sentences_per_1000", DIVERSITY, 1, _PARAGRAPHS),
    (r"div\d(_ngram)?", DIVERSITY, 1, _SAMPLES),
    (r"mbleu\d?(_\w+)?", DIVERSITY, -1, _SAMPLES),
    (r"self_cider", DIVERSITY, 1, _SAMPLES),
    (r"lsa", DIVERSITY, 1, _SAMPLES),
    (r"unique", DIVERSITY, 1, _SAMPLES),
    (r"effective", DIVERSITY, 1, _SAMPLES),
    (r"vocabulary", DIVERSITY, 1, _SAMPLES),
    (r"novel", DIVERSITY, 1, "of captions in a file: evaluate with --known"),
    (r"distinct_\w+", DIVERSITY, 1, ""),
    (r"identifies", DISTINCTIVENESS, 1, _SCENES),
    (r"justifies", DISTINCTIVENESS, 1, "of scenes: evaluate with --justify"),
    (r"\w*people_accuracy@\d+", DISTINCTIVENESS, 0, _PICKED),
    (r"own_\w*accuracy@\d+", DISTINCTIVENESS, 0, _OWN),  # as e_gan: each run has its own judge
    (r"\w*accuracy@\d+", DISTINCTIVENESS, 1, _PICKED),
    (r"\w*retrieval_r\d+@.*", DISTINCTIVENESS, 1, _RETRIEVAL),
    (r"\w*retrieval_\w*rank@.*", DISTINCTIVENESS, -1, _RETRIEVAL),
    (r"cider_?btw", DISTINCTIVENESS, -1, ""),
    (r"mean_length", OTHER, 0, ""),
    (r"mean_sentences", OTHER, 0, _PARAGRAPHS),
    (r"n_wordless", OTHER, 0, ""),
]


def measure(name: str) -> Measure:
    """What is known of a measure by its name; an unknown one is "other", with no better side."""
    for rank, (pattern, group, better, mend) in enumerate(_KNOWN):
        if re.fullmatch(pattern, name):
            detail = re.fullmatch(_DETAILS, name) is not None
            return Measure(name, group, better, rank, mend, mend == _SAMPLES, detail)
    return Measure(name, OTHER, 0, len(_KNOWN), "", False, False)


def in_order(names: set[str]) -> list[Measure]:
    """The measures of these names, by group, then by kind, with r10 after r5."""
    return sorted(
        map(measure, names),
        key=lambda one: (GROUPS.index(one.group), one.rank, natural(one.name)),
    )


def natural(text: str) -> list[tuple[int, float, str]]:
    """A key that sorts text with its numbers by size."""
    return [
        (0, float(part), "") if part.replace(".", "", 1).isdecimal() else (1, 0.0, part)
        for part in re.findall(r"\d+(?:\.\d+)?|\D+", text)
    ]
