"""What is a file of captions worth against a file of references?"""

import sys
from pathlib import Path
from typing import Any

from capjax.data.predictions import read_known, read_pair
from capjax.evaluation.request import FilesRequest
from capjax.evaluation.text_measures import Evaluation, measure
from capjax.evaluation.written import Written, mark_beside, write_evaluation
from capjax.files.places import place
from capjax.run.checkpoint import check_folder


def of_files(request: FilesRequest) -> Written:
    """Evaluates a file of captions against a file of references, and writes the evaluation.

    Args:
      request: what `capjax.evaluate --predictions` reads out of its flags.
    Returns:
      Written: the evaluation (`measure`), its title, and the files that it lies in.
    Raises:
      InputError: a file cannot be read, or the two do not fit one another.
    """
    predictions, references, split = request.predictions, request.references, request.split
    pairs = read_pair(predictions, references, split=split, subset=request.subset, ids=request.ids)
    known = None
    if request.known:
        # A file that is split by its names for the references is so for the training captions.
        same = Path(request.known).resolve() == Path(references).resolve()
        known = read_known(request.known, by_name=same and split is not None)
    folder = place(request.out)
    check_folder(folder, "--out")
    for note in pairs.notes:
        print(f"capjax: {note}", file=sys.stderr)
    found = measure(
        pairs.candidates,
        pairs.references,
        metrics=request.metrics,
        held_out=True,
        known=known,
        df_source=pairs.df_source,
        paragraphs=request.paragraphs,
    )
    about: dict[str, Any] = {"run": Path(predictions).stem, "dataset": Path(references).stem}
    about["predictions"] = str(Path(predictions).absolute())
    if split:
        about["split"] = split
    said = [*pairs.notes, *found.scores.get("notes", ())]
    notes = {"notes": said} if said else {}
    found = Evaluation(about | found.scores | notes, found.rows)
    mark = mark_beside(folder, "", found, own=False)
    return Written(found, predictions, write_evaluation(folder, mark, found))
