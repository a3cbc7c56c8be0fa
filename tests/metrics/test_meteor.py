"""METEOR is the library's, and no Java program can make a scoring hang, fail or leave anything."""

import json
import os
import random
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from capjax.metrics.java import JavaError, Talk, find_java, run_java
from capjax.metrics.meteor import LONGEST
from capjax.metrics.official import PYTHON, QUICK, score_captions, score_each
from capjax.metrics.ptb import java_words

CANDIDATES = {1: ["a dog runs"], 2: ["a cat"], 3: ["two birds"]}
REFERENCES = {1: ["the dog runs", "a dog"], 2: ["a black cat"], 3: ["birds", "two birds fly"]}
ODD = {  # of the sample 0; they need not be good captions
    0: "",
    1: "...",
    2: "a man ||| a dog",
    3: "||| |||||| a",
    4: "a (small) 😀 café [dog]",
    5: "a\u2028man\r\nrides\x0b a\x00 horse \x85",
    6: "SCORE ||| EVAL",
    7: "a 25 1/2 street",
}
GOLDEN = Path(__file__).parent / "meteor_of_pycocoevalcap.json"
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs java")
needs_proc = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")


def children() -> set[str]:
    """The processes that this one has started and not yet waited for."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == os.getpid():
            found.add(path.parent.name)
    return found


def running(word: str, patience: float = 5) -> bool:
    """Whether a process that has this word on its command line goes on for seconds."""
    ends = time.monotonic() + patience  # what was killed takes a moment to be gone
    while _running(word):
        if time.monotonic() > ends:
            return True
        time.sleep(0.05)
    return False


def _running(word: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def real_captions() -> dict[int, list[str]]:
    """Of 120 images of COCO's; they lie in pycocoevalcap's own jar."""
    import pycocoevalcap

    jar = Path(next(iter(pycocoevalcap.__path__))) / "spice/spice-1.0.jar"
    with zipfile.ZipFile(jar) as archive:
        found = json.loads(archive.read("coco/annotations/captions_val2014.json"))
    captions: dict[int, list[str]] = {}
    for note in found["annotations"]:
        captions.setdefault(note["image_id"], []).append(note["caption"])
    return {i: captions[i] for i in random.Random(0).sample(sorted(captions), 120)}


@pytest.fixture(scope="module")
def coco() -> dict[int, list[str]]:
    return real_captions()


def given(coco: dict[int, list[str]]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Two samples an image, one that fits and one of another image, some odd; and references."""
    ids = list(coco)
    references = {i: coco[i][1:] for i in ids}
    references[ids[20]] = ["a dog ||| on the grass", "|||", *references[ids[20]]]
    references[ids[21]] = [".", references[ids[21]][0]]
    others = ids[1:] + ids[:1]
    candidates = {i: [coco[i][0], coco[j][0]] for i, j in zip(ids, others, strict=True)}
    for n, text in ODD.items():
        candidates[ids[n]][0] = text
    return candidates, references


def usual_scores(coco: dict[int, list[str]]) -> dict[str, list]:
    """What GOLDEN holds: pycocoevalcap's own METEOR of `given`. Run this file to write it anew."""
    from pycocoevalcap.meteor.meteor import Meteor

    candidates, references = given(coco)
    words = {i: java_words(texts) for i, texts in candidates.items()}
    truth = {
        # The library takes "|||" within a reference for the end of it.
        i: [text.replace("|||", "").replace("  ", " ") for text in java_words(texts)]
        for i, texts in references.items()
    }
    usual = Meteor()
    scored = [usual.compute_score(truth, {i: [words[i][s]] for i in words}) for s in range(2)]
    return {"total": [total for total, _ in scored], "each": [each for _, each in scored]}


@pytest.mark.slow
@needs_java
@needs_proc
def test_meteor_is_that_of_the_library(coco):
    """The one real run. Each METEOR takes 15 s of two cores to start, so the library's is kept."""
    usual = json.loads(GOLDEN.read_text())
    before = children()
    scores = score_each(*given(coco), metrics=["meteor"])
    assert scores.unavailable == {}
    assert children() == before
    assert scores.each["meteor"].shape == (120, 2)
    np.testing.assert_allclose(scores.each["meteor"], np.transpose(usual["each"]), atol=1e-6)
    assert scores.total["meteor"] == pytest.approx(np.mean(usual["total"]), abs=1e-6)
    assert usual["total"][0] > 1.5 * usual["total"][1]  # others' captions do not fit
    assert scores.each["meteor"][0, 0] == scores.each["meteor"][1, 0] == 0  # no words


def fake(folder: Path, does: str) -> str:
    """A `java` that tells its version, and then `does` something else; the PATH with it."""
    java = folder / "java"
    version = "echo 'openjdk version \"17.0.1\"' >&2; exit 0"
    java.write_text(
        f'#!/bin/sh\nif [ "$1" = -version ]; then {version}; fi\n'
        # The tokenizer's program works; of it only the lower case is needed.
        'case "$*" in *PTBTokenizer*) exec tr A-Z a-z;; esac\n'
        f"{does}\n"
    )
    java.chmod(0o755)
    return f"{folder}{os.pathsep}{os.defpath}"


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("sleep 7654.3", "said nothing for 0.5 s and was ended"),
        ("cat > /dev/null & sleep 7654.3", "said nothing for 0.5 s"),
        ("kill -9 $$", "was killed by signal 9"),
        ("read line; kill -9 $$", "was killed by signal 9"),
        ("sleep 7654.3 & exit 3", "said nothing for 0.5 s"),
        (
            "echo 'Exception: java.lang.OutOfMemoryError: heap' >&2; echo '  at x' >&2; exit 1",
            "OutOfMemoryError: heap); give it more memory",
        ),
        ("while read line; do echo '0,29 0,1'; done", "METEOR answered '0,29 0,1' where 23"),
        ("while read line; do echo nan; done", "METEOR answered 'nan' where 23"),
        (
            f"while read line; do echo {'1 ' * 23}; case $line in EVAL*) echo 1; echo 1; echo 1;; "
            "esac; done",
            "where 1 numbers were due",
        ),
        ("while :; do echo nonsense; done", "METEOR answered 'nonsense'"),
        ("echo one; exit 0", "ended with status 0"),
    ],
)
@needs_proc
def test_whatever_java_does_meteor_says_why_and_the_rest_is_scored(
    does, said, tmp_path, monkeypatch
):
    before = children()
    monkeypatch.setenv("PATH", fake(tmp_path, does))
    started = time.monotonic()
    scores = score_captions(
        CANDIDATES, REFERENCES, metrics=["meteor", *QUICK], patience=0.5 if "sleep" in does else 30
    )
    assert time.monotonic() - started < 10
    assert scores["meteor"] is None
    assert said in scores["unavailable"]["meteor"]
    assert "\n" not in scores["unavailable"]["meteor"]
    assert scores["cider_d"] > 0
    assert scores["rouge_l"] > 0.5
    assert children() == before
    assert not running("7654.3")


@needs_proc
def test_a_java_that_hangs_at_once_costs_one_wait_and_words_are_split_without_it(
    tmp_path, monkeypatch
):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nsleep 7654.4\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    started = time.monotonic()
    scores = score_captions(CANDIDATES, REFERENCES, patience=0.5)
    assert time.monotonic() - started < 5
    assert scores["tokenizer"] == PYTHON
    for name in ("ptb (java)", "meteor", "spice"):
        assert "did not finish within 0.5 s" in scores["unavailable"][name]
    assert scores["bleu_1"] > 0.5
    assert not running("7654.4")


def test_a_tokenizer_that_hangs_or_drops_rows_is_not_believed(tmp_path, monkeypatch):
    path = fake(tmp_path, "true")
    java = tmp_path / "java"
    for does, said in (("sleep 7654.5", "did not finish"), ("exec head -n 2", "captions into 2")):
        java.write_text(java.read_text().replace("exec tr A-Z a-z", does))
        monkeypatch.setenv("PATH", path)
        scores = score_captions(CANDIDATES, REFERENCES, metrics=QUICK, patience=0.5)
        assert scores["tokenizer"] == PYTHON
        assert said in scores["unavailable"]["ptb (java)"]
        fake(tmp_path, "true")


@needs_proc
def test_an_interrupt_ends_the_program(tmp_path, monkeypatch):
    before = children()
    monkeypatch.setenv("PATH", fake(tmp_path, "sleep 7654.6"))
    # Tests that run in the background inherit that it is ignored.
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            score_captions(CANDIDATES, REFERENCES, metrics=["meteor"])
        timer.join()
    finally:
        signal.signal(signal.SIGINT, found)
    assert children() == before
    assert not running("7654.6")


def test_long_questions_and_long_answers_do_not_block_each_other(tmp_path):
    echo = tmp_path / "echo"
    echo.write_text("#!/bin/sh\nexec cat\n")
    echo.chmod(0o755)
    lines = [f"{n} " + "x" * 5_000 for n in range(2_000)]  # far more than a pipe holds
    with Talk(str(echo), [], patience=20) as talk:
        assert talk.ask(lines, len(lines)) == lines
        assert talk.ask(["é\ud800"], 1) == ["é?"]


def test_what_cannot_be_started_is_told_of(tmp_path):
    for name, text in (("java", "not a program"), ("gone", None)):
        if text is not None:
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        with pytest.raises(JavaError, match="cannot start"):
            run_java(str(tmp_path / name), [], timeout=5)
        with pytest.raises(JavaError, match="cannot start"), Talk(str(tmp_path / name), []):
            pass


def test_the_version_is_read_once_and_must_be_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake(tmp_path, "true"))
    assert find_java() is find_java()
    assert find_java().major == 17
    assert find_java()._replace(version="1.8.0_402").major == 8
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "java").symlink_to("/bin/echo")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    with pytest.raises(JavaError, match="is it a Java"):
        find_java()


def test_a_text_that_is_too_long_is_told_of_before_java_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake(tmp_path, "sleep 7654.7"))
    long = {**CANDIDATES, 2: ["cat " * (LONGEST + 1)]}
    scores = score_captions(long, REFERENCES, metrics=["meteor", "bleu"])
    assert scores["meteor"] is None
    assert f"image 2 has a text of {LONGEST + 1} words" in scores["unavailable"]["meteor"]
    assert scores["bleu_1"] > 0


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(usual_scores(real_captions())) + "\n")
