"""What was measured? Evaluations read from the `scores*.json` files that evaluate writes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capjax.comparison.measures import measure, natural
from capjax.comparison.rows import HELD_OUT, ORDINARY, Conditions, Judge, Row, text
from capjax.comparison.seeds import training
from capjax.decoding.speaking import METHODS
from capjax.errors import InputError
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
            files = _files(Path(argument))
        except OSError as error:
            raise InputError(f"cannot read {argument}: {error.strerror}") from error
        for path in files:
            if (whole := path.resolve()) in seen:
                also = f" (as {seen[whole]})" if seen[whole] != path else ""
                raise InputError(f"{path} is given twice{also}; name it once")
            seen[whole] = path
            found, said = _evaluation(path)
            rows += found
            notes += said
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
    if found := sorted(path.glob("scores*.json"), key=lambda file: natural(file.name)):
        return found
    below = sorted({str(file.parent) for file in path.glob("*/scores*.json")})
    mend = (
        f"name the folders in it, such as {below[0]}"
        if below
        else f"run `python -m capjax.evaluate --workdir={path}` first"
    )
    raise InputError(f"{path} holds no scores*.json; {mend}")


def _evaluation(path: Path) -> tuple[list[Row], list[str]]:
    try:
        content = read_json(path)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be scores; evaluate again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no scores but a {_kind(content)}; evaluate again")
    scores, notes = _scores(path, content)
    if not scores:
        raise InputError(f"{path} holds no scores: there is no number in it; evaluate again")
    run = content.get("run")
    run = text(run if run is not None else path.resolve().parent.name) or "(no name)"
    decoding = _decoding(path, content.get("decoding"))
    step = _count(path, content, "step")
    n_samples, seed = _count(path, content, "n_samples"), _count(path, content, "seed")
    conditions, reasons = _conditions(path, ORDINARY, content), _reasons(path, content)
    # Captions that were scored from a file have no step, though they lie in the folder of a run.
    trained = None if step is None else training(path.parent)
    rows = [
        Row(
            path, False, run, decoding, step, seed, n_samples, conditions, scores, reasons,
            _judges(path, content), trained, digests=_digests(path, content),
        )
    ]  # fmt: skip
    told = content.get("notes")
    notes += [f"{path}: {text(note)}" for note in (told if isinstance(told, list) else [])]
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
    for key in ("n-1", "n-1 human"):
        if content.get(key) is None:
            continue
        people, block = key == "n-1 human", content[key]
        if not isinstance(block, dict):
            raise InputError(f"{path}: {key!r} holds no scores but a {_kind(block)}")
        held, said = _scores(path, block, f"{key}: ")
        notes += said
        if not held:
            notes.append(f"{path}: {key!r} holds no number and is left out")
            continue
        rows.append(
            Row(
                path,
                people,
                "people" if people else run,
                {"method": "held-out caption"} if people else decoding,
                None if people else step,
                None if people else seed,
                _count(path, block, "n_samples") or (1 if people else n_samples),
                _conditions(path, HELD_OUT, _held_out(content, block)),
                held,
                reasons | _reasons(path, block),
                {},
                None if people else trained,
            )
        )
    return rows, notes


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
    def told(name: str) -> str | None:
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
        told("dataset") or _dataset_beside(path),
        *(told("split"), told("n_images"), told("references"), told("df"), told("tokenizer")),
        scored=scored,
        images=digests.get("images") if scored else None,
    )


def _digests(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """What tells the references, images and the like that were scored from others."""
    told = content.get("digests") or {}
    if not isinstance(told, dict) or not all(isinstance(x, str) for x in told.values()):
        raise InputError(f"{path}: 'digests' does not tell what was scored; evaluate again")
    return {text(name): text(value) for name, value in told.items()}


def _held_out(content: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """An n-1 part of a file with what the file tells of it; never the file's own references."""
    models = content.get("n-1")
    references = models.get("references") if isinstance(models, dict) else None
    own = {name: value for name, value in block.items() if value is not None}
    return {**content, "references": references} | own


def _dataset_beside(path: Path) -> str | None:
    """The dataset by the run's settings, for files that do not tell it themselves."""
    try:
        name = read_json(path.parent / "config.json")["data"]["name"]
    except (InputError, KeyError, TypeError, RecursionError):
        return None
    return text(name)


def _reasons(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    told = content.get("unavailable") or {}
    if not isinstance(told, dict):
        raise InputError(f"{path}: 'unavailable' holds no reasons but a {_kind(told)}")
    return {text(name): text(why) for name, why in told.items()}


def _judges(path: Path, content: Mapping[str, Any]) -> dict[str, Judge]:
    told = content.get("judges") or {}
    if not isinstance(told, dict):
        raise InputError(f"{path}: 'judges' names no judges but is a {_kind(told)}; evaluate again")
    judges = {}
    for kind, judge in told.items():
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
