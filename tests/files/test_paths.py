"""A path that a flag cannot use is named with the flag itself, before any work."""

import os
import sys

import pytest
from processes import told

from capjax import caption, compare, evaluate
from capjax.data import load
from capjax.errors import InputError, named
from capjax.files.paths import check_path, check_text

RUN = ("--workdir", "--evaluator", "--listener", "--guide", "--blind")
FILES = ("--predictions", "--references", "--known", "--triplets")
BESIDE = {  # what each flag needs beside itself
    "--evaluator": ["--workdir={run}"],
    "--listener": ["--workdir={run}", "--retrieval=4"],
    "--guide": ["--workdir={run}", "--distractors=1", "--speaker=reasoning"],
    "--blind": ["--workdir={run}", "--justify"],
    "--triplets": ["--workdir={run}", "--justify"],
    "--path": ["--workdir={run}"],
    "--features": ["--workdir={run}"],
    "--cache": ["--workdir={run}"],
    "--out": ["--workdir={run}"],
    "--predictions": ["--references={file}"],
    "--references": ["--predictions={file}"],
    "--known": ["--predictions={file}", "--references={file}"],
}


@pytest.fixture
def places(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    names = {"missing": "nowhere", "file": "file", "folder": "folder", "below": "file/x"}
    return {"empty": "", "long": "x" * 300} | {k: str(tmp_path / v) for k, v in names.items()}


def wrong_for(flag: str) -> list[str]:
    if flag in RUN:
        return ["missing", "file", "folder", "below", "empty", "long"]
    if flag in FILES:
        return ["missing", "folder", "below", "empty", "long"]
    if flag == "--features":
        return ["missing", "file", "below", "empty", "long"]
    if flag == "--path":
        return ["missing", "below", "empty", "long"]
    return ["file", "below", "empty", "long"]  # a folder to write to, made where there is none


EVERY = [(flag, kind) for flag in ("--workdir", *BESIDE) for kind in wrong_for(flag)]


@pytest.mark.parametrize(("flag", "kind"), EVERY)
def test_evaluate_names_the_flag_whose_path_is_wrong(flag, kind, places, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    flags = [one.format(run=run, file=places["file"]) for one in BESIDE.get(flag, [])]
    if kind == "folder" and flag in ("--evaluator", "--listener", "--guide", "--blind"):
        pytest.skip("the run of --workdir, which is none here, is told of first")
    told(capsys, evaluate.main([*flags, f"{flag}={places[kind]}"]), f"{flag}={places[kind]}"[:200])


@pytest.mark.parametrize("kind", wrong_for("--workdir"))
def test_caption_names_its_workdir(kind, places, photos, capsys):
    status = caption.main([f"--workdir={places[kind]}", str(photos / "0.png")])
    told(capsys, status, f"--workdir={places[kind]}"[:200])


def test_caption_names_its_distractor(places, photos, capsys):
    flags = ["--workdir=anywhere", str(photos / "0.png"), "--distractor", places["missing"]]
    told(capsys, caption.main(flags), f"--distractor={places['missing']}")


@pytest.mark.parametrize("kind", wrong_for("--out"))
def test_compare_names_its_folder(kind, places, capsys):
    told(capsys, compare.main(["run", f"--out={places[kind]}"]), f"--out={places[kind]}"[:200])
    told(capsys, compare.main(["run", "--against="]), "--against= is empty")


def test_what_is_right_is_let_pass(places, tmp_path):
    check_path("--out", str(tmp_path / "new" / "folder"), "new")
    assert not (tmp_path / "new").exists()
    check_path("--path", places["file"], "data")
    check_path("--path", places["folder"], "data")
    check_path("--workdir", places["folder"], "run")
    check_path("--known", places["file"], "file")
    os.mkfifo(tmp_path / "pipe")  # opened by a look at it, it would be lost to its reader
    check_path("--predictions", str(tmp_path / "pipe"), "file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_is_told(kind, places):
    os.chmod(places[kind], 0)
    with pytest.raises(InputError, match=f"--flag={places[kind]} cannot be read: Permission"):
        check_path("--flag", places[kind], kind)
    os.chmod(places[kind], 0o700)


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="names have another encoding")
def test_a_name_that_is_no_text_is_told_where_it_cannot_be_used():
    check_text("--workdir=é", "é")
    with pytest.raises(InputError, match="rename the folder"):
        check_text("--workdir", os.fsdecode(b"caf\xe9"))


def test_a_cache_of_data_that_is_no_text_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPJAX_CACHE", str(tmp_path / "c\udcff"))
    with pytest.raises(InputError, match=r"^CAPJAX_CACHE=.* has letters in its path"):
        load("scenes")
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_told_under_the_name_of_the_flag():
    with pytest.raises(InputError, match=r"^--guide=DIR: it is empty$"), named("--guide", "DIR"):
        raise InputError("it is empty")
    with pytest.raises(InputError, match=r"^--guide is empty$"), named("--guide", "DIR"):
        raise InputError("--guide is empty")
