"""What captions are worth: a run's, asked in three ways, or anyone's, in one record."""

from capjax.evaluation.of_files import of_files
from capjax.evaluation.of_run import evaluate_run, of_run
from capjax.evaluation.of_speaker import Captioner, evaluate
from capjax.evaluation.request import FilesRequest, RunRequest
from capjax.evaluation.terminal import show
from capjax.evaluation.text_measures import Evaluation, measure
from capjax.evaluation.verdicts import Judge, evaluator_scores
from capjax.evaluation.written import write_evaluation

__all__ = [
    "Captioner",
    "Evaluation",
    "FilesRequest",
    "Judge",
    "RunRequest",
    "evaluate",
    "evaluate_run",
    "evaluator_scores",
    "measure",
    "of_files",
    "of_run",
    "show",
    "write_evaluation",
]
