"""Which data does `capjax.evaluate` ask for, and are they the run's? Known before much work."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data import load
from capjax.data.feature_files import PREFIX, FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared, prepare
from capjax.data.split import Dataset
from capjax.errors import InputError
from capjax.models.encoders import encoder_named
from capjax.run import Trained
from capjax.run.data import others, spoken, tells_features


class Asked(NamedTuple):
    """A dataset whose images have not been encoded yet."""

    name: str
    dataset: Dataset
    encoder: Encoder | FeatureFiles  # the run's
    path: str | None
    cache: str | None

    def encoded(
        self, encoder: Encoder | FeatureFiles, check: Callable[[Prepared], object] | None = None
    ) -> Prepared:
        """The dataset as an encoder sees it; check: as of `prepare`."""
        with _as_flags():
            return prepare(
                self.name, self.path, self.cache, encoder, dataset=self.dataset, check=check
            )


def asked_of(flags: argparse.Namespace, run: Trained) -> Asked:
    """The data that are asked for; InputError where there are none, or not the split."""
    data = run.config["data"]
    encoder = _encoder(flags, run)
    path, cache = flags.path or data["path"] or None, flags.cache or data["cache"] or None
    if not flags.path and path and not Path(path).expanduser().exists():
        raise InputError(
            f"the data of the run in {flags.workdir} lay in {path}, where nothing is; give the"
            " folder that they are in with --path=DIR"
        )
    with _as_flags():
        dataset = load(data["name"], path, cache)
    if flags.split not in dataset.splits:
        raise InputError(
            f"{data['name']} has no split {flags.split!r}; it has {', '.join(dataset.splits)}"
        )
    return Asked(data["name"], dataset, encoder, path, cache)


def _encoder(flags: argparse.Namespace, run: Trained) -> Encoder | FeatureFiles:
    name = run.config["data"]["encoder"]
    if flags.features:
        if not name.startswith(PREFIX):
            raise InputError(
                f"--features has no meaning for the run in {flags.workdir}, which sees photos by"
                f" the encoder {name}; leave it out"
            )
        if not tells_features(Path(flags.workdir)):
            raise InputError(
                f"the run in {flags.workdir} does not tell what its features hold, so that nobody"
                f" knows whether those in --features={flags.features} are they; put them into"
                f" {name.removeprefix(PREFIX)}, and go on with its training once: then it does"
            )
        name = PREFIX + flags.features
    with _as_flags():
        return encoder_named(name)


@contextlib.contextmanager
def _as_flags() -> Iterator[None]:
    """Names settings as this command calls them."""
    try:
        yield
    except InputError as error:
        told = str(error).replace("--config.data.path", "--path")
        told = told.replace(f"--config.data.encoder={PREFIX}", "--features=")
        raise InputError(told.replace("another cache", "another --cache")) from error


def other_data(flags: argparse.Namespace, run: Trained, prepared: Prepared) -> list[str] | None:
    """In what the data that are asked for are not the run's; None where that is not known.

    Raises InputError where they are others, and were not named by --path or --features.
    """
    parts = [flags.split] if flags.split == "train" else [flags.split, "train captions"]
    data, workdir = run.recipe.data, Path(flags.workdir)
    differ = others(workdir, prepared, run.vocabulary, data.max_len, parts)
    seen = [part for part in differ or () if part.endswith(" features")]
    # Features of other photos are others.
    if differ and not flags.path and (len(seen) < len(differ) or not flags.features):
        flag = "--features" if len(seen) == len(differ) else "--path"
        raise InputError(
            f"{spoken(differ, data)} are not those that the"
            f" run in {workdir} was trained on; restore them, name their folder with {flag}=DIR, or"
            f" name that of these with {flag} to score them in files of their own"
        )
    return differ


def of_data(
    flags: argparse.Namespace, prepared: Prepared, differ: list[str] | None
) -> dict[str, Any]:
    """What the scores tell of data that are not the run's, or not known to be."""
    if differ is None:
        said = "it is not known whether these are the data of the run, which does not tell"
        return {"notes": [f"{said}; go on with its training once, and it does"]}
    if not differ:
        return {}
    places = {
        name: str(Path(folder).expanduser().absolute())
        for name, folder in (("path", flags.path), ("features", flags.features))
        if folder
    }
    where = " and ".join(places.values())
    said = f"scored on other data than the run's, in {where}: {', '.join(differ)} differ"
    return {"data": {**places, "differ": differ}, "notes": [said]}
