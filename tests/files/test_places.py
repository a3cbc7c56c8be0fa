"""Local paths are what they were; gs:// is told apart, and told of where it cannot be had."""

import importlib.util
from pathlib import Path

import pytest

from capjax.errors import InputError
from capjax.files.paths import check_path
from capjax.files.places import absolute, as_of_a_disk, place, resolved, stored

GS = importlib.util.find_spec("gcsfs") is not None


@pytest.mark.parametrize("name", ["run", "/a/b", "../c", "gs", "./gs:", "C:/x", "a:b//c", "-"])
def test_a_local_path_stays_what_it_is(name):
    assert place(name) == Path(name)
    assert type(place(name)) is type(Path())
    assert absolute(name) == Path(name).absolute()
    assert resolved(Path(name)) == Path(name).resolve()
    assert not stored(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gs://", "names no bucket"),
        ("gs:///", "names no bucket"),
        ("s3://bucket/run", "is no folder"),
        ("gs:/bucket/run", "one slash"),
        (Path("gs://bucket/run"), "one slash"),
    ],
)
def test_what_is_no_place_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        place(name)


@pytest.mark.skipif(GS, reason="gcsfs is installed")
def test_without_the_extra_one_sentence_names_it():
    with pytest.raises(InputError, match=r"^gs://bucket/run needs gcsfs; .*capjax\[gs\]"):
        place("gs://bucket/run")
    with pytest.raises(InputError, match=r"^--workdir=gs://bucket/run: .*capjax\[gs\]"):
        check_path("--workdir", "gs://bucket/run", "run")


@pytest.mark.skipif(not GS, reason="gcsfs is not installed")
def test_a_place_on_a_store_keeps_its_name():
    run = place("gs://bucket/runs/mle/")
    assert str(run) == str(absolute(run)) == str(resolved(run)) == "gs://bucket/runs/mle"
    assert run == place("gs://bucket/runs/mle")
    assert str(run / "checkpoints") == "gs://bucket/runs/mle/checkpoints"
    assert (run.name, str(run.parent)) == ("mle", "gs://bucket/runs")
    assert stored(run)
    assert stored(run / "config.json")


@pytest.mark.parametrize("kind", ["file", "folder", "data", "cache"])
def test_what_is_read_at_random_must_be_here(kind):
    with pytest.raises(InputError, match=r"^--it=gs://bucket/x must be on this machine"):
        check_path("--it", "gs://bucket/x", kind)


def test_errors_of_a_store_are_told_as_a_disks():
    with pytest.raises(OSError, match="no such bucket") as told, as_of_a_disk("gs://bucket/x"):
        raise FileNotFoundError("b/bucket/o/x")
    assert isinstance(told.value, FileNotFoundError)
    assert told.value.strerror == "there is no such bucket, folder or file"
    with pytest.raises(OSError, match="out of\nreach") as told, as_of_a_disk("here"):
        raise OSError("out of\nreach")
    with pytest.raises(OSError, match="out of reach") as told, as_of_a_disk("gs://bucket/x"):
        raise RuntimeError("out of\nreach")
    assert told.value.strerror == "out of reach"
    with pytest.raises(InputError, match="said"), as_of_a_disk("gs://bucket/x"):
        raise InputError("said")
