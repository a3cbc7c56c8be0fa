"""Runs opened for the page: what does not fit on it is told before it is shown."""

from collections.abc import Sequence

from capjax.data import cache_folder, coco
from capjax.data.feature_files import PREFIX
from capjax.data.features import Encoder
from capjax.errors import InputError, named
from capjax.evaluation.data import Places, data_of
from capjax.evaluation.judge_runs import check_same_kind, judge_of
from capjax.files.paths import check_path
from capjax.files.places import resolved
from capjax.models.encoders import encoder_named
from capjax.page.answers import Answers, Voice
from capjax.page.heard import Heard
from capjax.page.pictures import Album, words_of
from capjax.page.ready import Ready
from capjax.run import Trained, open_run

SPLIT = "val"


def open_answers(workdirs: Sequence[str], listener: str = "") -> tuple[Answers, list[str]]:
    """The runs of a page.

    Args:
      workdirs: folders of training runs.
      listener: the folder of a run that trained a listener or an evaluator; "" for none.
    Returns:
      What answers, and in a sentence each what the page cannot show and why.
    Raises:
      InputError: a folder holds no run, or one that the page has no place for.
    """
    runs = [_open("--workdir", workdir) for workdir in workdirs]
    for workdir, run in zip(workdirs, runs, strict=True):
        if run.concepts:
            raise InputError(
                f"--workdir={workdir}: this run is told the class of an image, for which the page"
                " has no place; caption with capjax.caption --concept=NAME"
            )
    ear = _listener(listener) if listener else None
    for run in runs:
        if ear:
            check_same_kind("--listener", listener, ear.judge.vocabulary, run.vocabulary)
    albums, missing = _albums(workdirs, runs)
    voices = []
    for name, run in zip(_names(workdirs), runs, strict=True):
        own = _heard(name, run) if run.evaluator else None
        voices.append(Voice(Ready(name, run), own or ear, ear or own))
    names = [run.recipe.data.encoder for run in runs] + ([ear.encoder] if ear else [])
    encoders = {name: encoder_named(name) for name in names if not name.startswith(PREFIX)}
    seeing = {name: one for name, one in encoders.items() if isinstance(one, Encoder)}
    if not seeing and not albums:
        raise InputError(f"there is nothing to look at on the page: {'; '.join(missing)}")
    return Answers(voices, seeing, albums), missing


def _open(flag: str, workdir: str) -> Trained:
    check_path(flag, workdir, "run")
    with named(flag, workdir):
        return open_run(workdir)


def _listener(workdir: str) -> Heard:
    run = _open("--listener", workdir)
    with named("--listener", workdir):
        if run.evaluator is None:
            raise InputError(
                "this run trained no listener and no evaluator; give the folder of a run of"
                " configs/listener.py"
            )
    return _heard(resolved(workdir).name, run)


def _heard(name: str, run: Trained) -> Heard:
    kind = run.recipe.judged_by
    return Heard(f"the {kind} of {name}", judge_of(run), run.recipe.data.encoder)


def _names(workdirs: Sequence[str]) -> list[str]:
    """What the page calls runs: by their folders' names, or as given where two are the same."""
    names = [resolved(workdir).name for workdir in workdirs]
    return [
        name if names.count(name) == 1 else workdir
        for name, workdir in zip(names, workdirs, strict=True)
    ]


def _albums(workdirs: Sequence[str], runs: Sequence[Trained]) -> tuple[list[Album], list[str]]:
    """The validation images of every dataset, and why some are not there."""
    albums: dict[str, Album] = {}  # by the fingerprints of datasets
    missing = []
    for workdir, run in zip(workdirs, runs, strict=True):
        try:
            if not _on_disk(run):
                raise InputError(f"the photos of {run.recipe.data.name} are not on this machine")
            data = data_of(run, workdir, SPLIT, Places())
            features = {}
            if run.recipe.data.encoder.startswith(PREFIX):
                features[run.recipe.data.encoder] = data.encoded().images
        except InputError as error:
            missing.append(f"{workdir}: no images of its dataset to choose from ({error})")
            continue
        key = data.dataset.fingerprint
        if key in albums:
            albums[key].features.update(features)
            continue
        name = f"{data.name}, {SPLIT}"
        taken = sum(album.name.startswith(name) for album in albums.values())
        name += f" ({1 + taken})" if taken else ""
        words = [words_of(texts) for texts in data.split.captions]
        albums[key] = Album(name, data.split, features, words)
    return list(albums.values()), missing


def _on_disk(run: Trained) -> bool:
    """Whether data can be read without a download, which the page never starts."""
    data = run.recipe.data
    if data.path or data.name != "coco":
        return True
    folder = cache_folder(data.cache or None) / "downloads" / "coco"
    return all((folder / name).is_dir() for name in coco.ZIPS)
