"""Which data is a run evaluated on, and are they those that it knows? Told before much work."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capjax.data import cache_folder, load
from capjax.data.feature_files import PREFIX, FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared, prepare
from capjax.data.split import Dataset, Split
from capjax.errors import InputError
from capjax.files.places import place
from capjax.models.encoders import encoder_named
from capjax.parallel import first_before_others
from capjax.run import Trained
from capjax.run.data import differences, in_words, notes_features


class Places(NamedTuple):
    """Where data lie, as flags say; None: where the run says."""

    path: str | None = None
    features: str | None = None
    cache: str | None = None


class RunData(NamedTuple):
    """A run, and a split that it is evaluated on, whose images have not been encoded yet."""

    run: Trained
    workdir: str  # the run's folder
    split_name: str
    places: Places
    dataset: Dataset
    encoder: Encoder | FeatureFiles  # the run's

    @property
    def name(self) -> str:
        """The dataset's."""
        return self.run.recipe.data.name

    @property
    def split(self) -> Split:
        return self.dataset.splits[self.split_name]

    def encoded(self) -> "Encoded":
        """With the images as the run sees them.

        Raises InputError where they are other data than the run's, and were not named as such.
        """
        prepared = self.encoded_by(self.encoder, partial(_differences, self))
        return Encoded(self, prepared, _differences(self, prepared))

    def encoded_by(
        self, encoder: Encoder | FeatureFiles, check: Callable[[Prepared], object] | None = None
    ) -> Prepared:
        """The dataset as any encoder sees it; check: as of `prepare`."""
        path, cache = _folders(self.run, self.places)
        with _as_flags():
            return prepare(self.name, path, cache, encoder, dataset=self.dataset, check=check)


class Encoded(NamedTuple):
    """The same with its images as the run sees them."""

    data: RunData
    prepared: Prepared
    differ: list[str] | None  # in what the data are not the run's; None: nobody knows

    @property
    def images(self) -> np.ndarray:
        """Of the split: [M, ...]."""
        return self.prepared.images[self.data.split_name]

    @property
    def mark(self) -> str:
        """What tells the files of evaluations on other data than the run's from the others."""
        contents = self.prepared.contents[self.data.split_name]
        return f"-data-{contents.name}" if self.differ else ""

    @property
    def about(self) -> dict[str, Any]:
        """What the scores tell of data that are not the run's."""
        return {"data": {**self._other_places, "differ": self.differ}} if self.differ else {}

    @property
    def notes(self) -> list[str]:
        """The same in a sentence, or that nobody knows."""
        if self.differ is None:
            said = "it is not known whether these are the data of the run, which does not tell"
            return [f"{said}; go on with its training once, and it does"]
        if not self.differ:
            return []
        where = " and ".join(self._other_places.values())
        differ = ", ".join(self.differ)
        return [f"scored on other data than the run's, in {where}: {differ} differ"]

    @property
    def _other_places(self) -> dict[str, str]:
        places = self.data.places
        return {
            name: str(Path(folder).expanduser().absolute())
            for name, folder in (("path", places.path), ("features", places.features))
            if folder
        }


def data_of(run: Trained, workdir: str, split: str, places: Places) -> RunData:
    """The data that are asked for; InputError where there are none, or not the split."""
    encoder = _encoder(run, workdir, places.features)
    name = run.recipe.data.name
    path, cache = _folders(run, places)
    if not places.path and path and not Path(path).expanduser().exists():
        raise InputError(
            f"the data of the run in {workdir} lay in {path}, where nothing is; give the"
            " folder that they are in with --path=DIR"
        )
    with _as_flags():
        dataset = first_before_others(cache_folder(cache), lambda: load(name, path, cache))
    if split not in dataset.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(dataset.splits)}")
    return RunData(run, workdir, split, places, dataset, encoder)


def _folders(run: Trained, places: Places) -> tuple[str | None, str | None]:
    """Where the dataset lies, and what was made of it."""
    data = run.recipe.data
    return places.path or data.path or None, places.cache or data.cache or None


def _encoder(run: Trained, workdir: str, features: str | None) -> Encoder | FeatureFiles:
    name = run.recipe.data.encoder
    if features:
        if not name.startswith(PREFIX):
            raise InputError(
                f"--features has no meaning for the run in {workdir}, which sees photos by"
                f" the encoder {name}; leave it out"
            )
        if not notes_features(place(workdir)):
            raise InputError(
                f"the run in {workdir} does not tell what its features hold, so that nobody"
                f" knows whether those in --features={features} are they; put them into"
                f" {name.removeprefix(PREFIX)}, and go on with its training once: then it does"
            )
        name = PREFIX + features
    with _as_flags():
        return encoder_named(name)


@contextlib.contextmanager
def _as_flags() -> Iterator[None]:
    """Names settings as this command calls them."""
    try:
        yield
    except InputError as error:
        said = str(error).replace("--config.data.path", "--path")
        said = said.replace(f"--config.data.encoder={PREFIX}", "--features=")
        raise InputError(said.replace("another cache", "another --cache")) from error


def _differences(data: RunData, prepared: Prepared) -> list[str] | None:
    """In what the data that are asked for are not the run's; None where that is not known.

    Raises InputError where they are others, and were not named by --path or --features.
    """
    split, run, places = data.split_name, data.run, data.places
    parts = [split] if split == "train" else [split, "train captions"]
    settings, workdir = run.recipe.data, place(data.workdir)
    differ = differences(workdir, prepared, run.vocabulary, settings.max_len, parts)
    seen = [part for part in differ or () if part.endswith(" features")]
    # Features of other photos are others.
    if differ and not places.path and (len(seen) < len(differ) or not places.features):
        flag = "--features" if len(seen) == len(differ) else "--path"
        raise InputError(
            f"{in_words(differ, settings)} are not those that the"
            f" run in {workdir} was trained on; restore them, name their folder with {flag}=DIR, or"
            f" name that of these with {flag} to score them in files of their own"
        )
    return differ
