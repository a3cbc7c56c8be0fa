"""What was measured? Evaluations read from the `scores*.json` files that evaluate writes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capjax.comparison.measures import measure, natural
from capjax.comparison.rows import HELD_OUT, ORDINARY, Conditions, Judge, Row, text
from capjax.comparison.seeds import training
from capjax.decoding.speaking import METHODS
from capjax.errors import InputError
from capjax.files.places import as_of_a_disk, place, resolved
from capjax.files.whole import read_json

BESIDE = {  # what stands beside the measures
    "run", "dataset", "split", "step", "seed", "decoding", "n_images", "n_samples", "n_wordless",
    "references", "df", "tokenizer", "versions", "unavailable", "notes", "judges", "protocol",
    "system", "n-1", "n-1 human", "digests", "data", "predictions",
}  # fmt: skip
_LARGEST = 1e15  # beyond it no measure can be, and scales overflow


def read(arguments: Iterable[str | Path]) -> tuple[list[Row], list[str]]:
    """The evaluations of folders and files, in the order given.

    Arguments: folders, of which every `scores*.json` is one evaluation, or such files.

    Returns:
      A row for each evaluation and one more for each n-1 protocol in it (the model's, people's);
      and sentences that say what of the files is not in the rows.
    Raises:
      InputError: nothing is given, a folder holds no scores, a file is damaged, holds no scores
        or something that is not a number, or is given twice.
    """
    rows: list[Row] = []
    notes: list[str] = []
    seen: dict[Path, Path] = {}
    for argument in arguments:
        try:
            with as_of_a_disk(argument):
                files = _files(place(argument))
        except OSError as error:
            raise InputError(f"cannot read {argument}: {error.strerror}") from error
        for path in files:
            if (whole := resolved(path)) in seen:
                also = f" (as {seen[whole]})" if seen[whole] != path else ""
                raise InputError(f"{path} is given twice{also}; name it once")
            seen[whole] = path
            of_file, left_out = _evaluation(path)
            rows += of_file
            notes += left_out
    if not rows:
        raise InputError(
            "nothing to compare: name folders of runs, or scores*.json files that evaluate wrote"
        )
    return rows, notes


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no folder or file {path}; name a run's folder or its scores")
    if files := sorted(path.glob("scores*.json"), key=lambda file: natural(file.name)):
        return files
    below = sorted({str(file.parent) for file in path.glob("*/scores*.json")})
    mend = f"run `python -m capjax.evaluate --workdir={path}` first"
    if below:
        mend = f"name the folders in it, such as {below[0]}"
    raise InputError(f"{path} holds no scores*.json; {mend}")


def _evaluation(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and sentences on what of it is in none."""
    try:
        content = read_json(path)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be scores; evaluate again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no scores but a {_kind(content)}; evaluate again")
    scores, notes = _scores(path, content)
    if not scores:
        raise InputError(f"{path} holds no scores: there is no number in it; evaluate again")
    row = _row(path, content, scores)
    notes += _notes(path, content, row.conditions)
    rows = [row]
    for key in ("n-1", "n-1 human"):
        if (part := content.get(key)) is None:
            continue
        if not isinstance(part, dict):
            raise InputError(f"{path}: {key!r} holds no scores but a {_kind(part)}")
        scores, unshown = _scores(path, part, f"{key}: ")
        notes += unshown
        if scores:
            rows.append(_held_out_row(row, content, part, scores, people=key == "n-1 human"))
        else:
            notes.append(f"{path}: {key!r} holds no number and is left out")
    return rows, notes


def _row(path: Path, content: Mapping[str, Any], scores: dict[str, float]) -> Row:
    """The row of an evaluation against all references."""
    run = content.get("run")
    run = text(run if run is not None else resolved(path).parent.name) or "(no name)"
    decoding = _decoding(path, content.get("decoding"))
    step, n_samples, seed = (_count(path, content, key) for key in ("step", "n_samples", "seed"))
    return Row(
        path,
        False,
        run,
        decoding,
        step,
        seed,
        n_samples,
        conditions=_conditions(path, ORDINARY, content),
        scores=scores,
        reasons=_reasons(path, content),
        judges=_judges(path, content),
        # Captions scored from a file have no step, though they lie in the folder of a run.
        trained=None if step is None else training(path.parent),
        digests=_digests(path, content),
    )


def _notes(path: Path, content: Mapping[str, Any], conditions: Conditions) -> list[str]:
    """The notes of a file, and what it does not tell of its scores."""
    own = content.get("notes")
    notes = [f"{path}: {text(note)}" for note in (own if isinstance(own, list) else [])]
    if lacks := ", ".join(conditions.lacks()):
        notes.append(
            f"{path} does not tell {lacks}, so it stands in a table of its own;"
            " evaluate it again to compare it"
        )
    if conditions.scored is None:
        notes.append(
            f"{path} does not tell which references it was scored on, being older than that, and"
            " stands with others of its kind only; evaluate it again to compare it with newer ones"
        )
    return notes


def _held_out_row(
    row: Row,
    content: Mapping[str, Any],
    part: Mapping[str, Any],
    scores: dict[str, float],
    *,
    people: bool,
) -> Row:
    """The row of an n-1 part of a file, the model's or people's. row: of the whole file."""
    path = row.source
    held_out = row._replace(
        people=people,
        n_samples=_count(path, part, "n_samples") or (1 if people else row.n_samples),
        conditions=_conditions(path, HELD_OUT, _held_out(content, part)),
        scores=scores,
        reasons=row.reasons | _reasons(path, part),
        judges={},
        digests={},
    )
    if not people:
        return held_out
    decoding = {"method": "held-out caption"}
    return held_out._replace(run="people", decoding=decoding, step=None, seed=None, trained=None)


def _scores(path: Path, content: Mapping[str, Any], where: str = "") -> tuple[dict, list[str]]:
    """The measures of a file or of a part of it, and what of it is none."""
    scores: dict[str, float] = {}
    notes: list[str] = []
    for name, value in content.items():
        if name in BESIDE or value is None:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_size(path, f"{where}{text(name)}", value)
            scores[text(name)] = value
        elif measure(name).group != "other":
            raise InputError(
                f"{path}: {where}{name} is {text(repr(value))[:40]}, not a number;"
                " evaluate it again"
            )
        else:
            notes.append(f"{path}: {where}{text(name)} is no number and not shown")
    return scores, notes


def _check_size(path: Path, name: str, value: float) -> None:
    if not abs(value) < _LARGEST:  # nor is NaN
        shown = f"{value}" if isinstance(value, float) else "an integer of many digits"
        raise InputError(f"{path}: {name} is {shown}, which cannot be; evaluate it again")


# Of captions told from other images, by any method.
APART = ("distractors", "justifies", "rationality", "speaker", "candidates", "guide", "blind")


def _decoding(path: Path, value: Any) -> dict[str, Any]:
    """The settings that the method takes: a recipe may hold those of other methods too."""
    if value is None:  # captions that were scored from a file
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        raise InputError(f"{path}: the decoding is {text(repr(value))[:40]}, and has no method")
    method = text(value["method"])
    taken = METHODS.get(method)
    settings = {text(k): v for k, v in value.items() if taken is None or k in (*taken, *APART)}
    if method == "sample":  # what sample does where it is not told
        settings = {"samples": 1, "temperature": 1.0} | settings
    for name, setting in settings.items():
        if isinstance(setting, int | float):
            _check_size(path, f"the decoding's {name}", setting)
        elif isinstance(setting, str):
            settings[name] = text(setting)
    return settings | {"method": method}


def _conditions(path: Path, protocol: str, content: Mapping[str, Any]) -> Conditions:
    def condition(name: str) -> str | None:
        value = content.get(name)
        if isinstance(value, dict):  # df: {"source": ..., "n": ...}
            if set(value) == {"source", "n"}:
                return text(f"{value['source']}, N={value['n']}")
            return text(", ".join(f"{key} {setting}" for key, setting in value.items()))
        return None if value is None else text(value)

    digests = _digests(path, content)
    scored = digests.get("references")
    if scored and protocol == HELD_OUT:
        scored = f"{scored}-{digests.get('held_out', '')}"
    return Conditions(
        protocol,
        dataset=condition("dataset") or _dataset_beside(path),
        split=condition("split"),
        n_images=condition("n_images"),
        references=condition("references"),
        df=condition("df"),
        tokenizer=condition("tokenizer"),
        scored=scored,
        images=digests.get("images") if scored else None,
    )


def _digests(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """What tells the references, images and the like that were scored from others."""
    digests = content.get("digests") or {}
    if not isinstance(digests, dict) or not all(isinstance(x, str) for x in digests.values()):
        raise InputError(f"{path}: 'digests' does not tell what was scored; evaluate again")
    return {text(name): text(value) for name, value in digests.items()}


def _held_out(content: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """An n-1 part of a file with what the file tells of it; never the file's own references."""
    models = content.get("n-1")
    references = models.get("references") if isinstance(models, dict) else None
    own = {name: value for name, value in part.items() if value is not None}
    return {**content, "references": references} | own


def _dataset_beside(path: Path) -> str | None:
    """The dataset by the run's settings, for files that do not tell it themselves."""
    try:
        name = read_json(path.parent / "config.json")["data"]["name"]
    except (InputError, KeyError, TypeError, RecursionError):
        return None
    return text(name)


def _reasons(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    reasons = content.get("unavailable") or {}
    if not isinstance(reasons, dict):
        raise InputError(f"{path}: 'unavailable' holds no reasons but a {_kind(reasons)}")
    return {text(name): text(why) for name, why in reasons.items()}


def _judges(path: Path, content: Mapping[str, Any]) -> dict[str, Judge]:
    named = content.get("judges") or {}
    if not isinstance(named, dict):
        raise InputError(
            f"{path}: 'judges' names no judges but is a {_kind(named)}; evaluate again"
        )
    judges = {}
    for kind, judge in named.items():
        if not isinstance(judge, dict) or not {"run", "step", "parameters"} <= judge.keys():
            raise InputError(
                f"{path}: the judge {text(kind)} lacks run, step or parameters; evaluate again"
            )
        name, parameters = Path(str(judge["run"])).name, text(judge["parameters"])
        words = f"{name}, step {judge['step']}, parameters {parameters}"
        judges[text(kind)] = Judge(parameters, text(words))
    return judges


def _count(path: Path, content: Mapping[str, Any], name: str) -> int | None:
    value = content.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InputError(f"{path}: {name} is {text(repr(value))[:40]}, not a whole number")


def _kind(value: Any) -> str:
    kinds = {list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")
