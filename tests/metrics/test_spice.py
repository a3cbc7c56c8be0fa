"""SPICE runs only where its jars are, with Java's own answers; else it says what is missing.

The jars are not to be had here: what the program answers is played by a `java` of ours.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from capjax.metrics.official import score_captions, score_each
from capjax.metrics.spice import FOLDER, JARS, spice_missing

CANDIDATES = {"a": ["a dog runs", "a cat"], "b": ["a cat", "a dog"], "c": ["..", "two birds"]}
REFERENCES = {"a": ["the dog"], "b": ["a black cat", "cats"], "c": ["birds"]}

# Writes what SPICE writes, in another order: the words of each caption as its score.
ANSWERS = """
rows = json.load(open(arguments[0]))
assert os.listdir(arguments[arguments.index("-cache") + 1]) == ["kept"] * (CALL > 1)
open(os.path.join(arguments[arguments.index("-cache") + 1], "kept"), "w").close()
score = lambda row: len(row["test"].split()) / 10 or None
found = [{"image_id": r["image_id"], "scores": {"All": {"f": score(r)}}} for r in rows[::-1]]
json.dump(found, open(arguments[arguments.index("-out") + 1], "w"))
"""


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of the right names."""
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in (*JARS, "nashorn-core-15.4.jar"):
        (folder / name).touch()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: str, version: str = "17.0.1"):
    """Puts a `java` on the PATH that notes how SPICE is called, in calls.json, and `answers`."""
    folder.mkdir()
    java = folder / "java"
    java.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        f"if sys.argv[1] == '-version': sys.exit(print('openjdk version \"{version}\"') or 0)\n"
        "if 'PTBTokenizer' in ' '.join(sys.argv):\n"
        "    sys.exit(sys.stdout.write(sys.stdin.read().replace('..', '')) and 0)\n"
        f"calls = {str(folder / 'calls.json')!r}\n"
        "said = json.load(open(calls)) if os.path.exists(calls) else []\n"
        "json.dump([*said, sys.argv], open(calls, 'w'))\n"
        "CALL = len(said) + 1\n"
        "arguments = sys.argv[sys.argv.index('edu.anu.spice.SpiceScorer') + 1:]\n" + answers
    )
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")


def test_without_the_jars_spice_says_what_to_do_and_nothing_is_downloaded(tmp_path, monkeypatch):
    fake(tmp_path / "bin", monkeypatch, "sys.exit('SPICE must not be started')")
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr("urllib.request.urlretrieve", None)
    scores = score_captions(CANDIDATES, REFERENCES, metrics=["spice", "bleu"])
    assert scores["spice"] is None
    assert scores["bleu_1"] > 0
    for word in (*JARS, FOLDER):
        assert word in scores["unavailable"]["spice"]
    assert scores["unavailable"]["spice"] == spice_missing()
    assert not (tmp_path / "bin" / "calls.json").exists()


def test_what_is_missing_is_told_before_any_work(tmp_path, monkeypatch, jars):
    fake(tmp_path / "new", monkeypatch, "", "17.0.1")
    assert spice_missing() is None
    (jars / "nashorn-core-15.4.jar").unlink()
    assert "Java 17" in spice_missing()
    assert "Java 8 or 11" in spice_missing()
    fake(tmp_path / "old", monkeypatch, "", "1.8.0_402")
    assert spice_missing() is None
    (jars / JARS[1]).unlink()
    assert JARS[1] in spice_missing()
    assert JARS[0] not in spice_missing().partition(",")[0]
    monkeypatch.setenv("PATH", "")
    assert "no java on the PATH" in spice_missing()


@pytest.mark.parametrize("version", ["17.0.1", "1.8.0_402"])
def test_each_sample_is_a_run_and_captions_without_a_score_are_not_in_the_mean(
    version, tmp_path, monkeypatch, jars
):
    fake(tmp_path / "bin", monkeypatch, ANSWERS, version)
    scores = score_each(CANDIDATES, REFERENCES, metrics=["spice"])
    assert scores.unavailable == {}
    np.testing.assert_allclose(scores.each["spice"], [[0.3, 0.2], [0.2, 0.2], [np.nan, 0.2]])
    assert scores.total["spice"] == pytest.approx(np.mean([np.mean([0.3, 0.2]), 0.2]))
    calls = json.loads((tmp_path / "bin" / "calls.json").read_text())
    assert len(calls) == 2
    for call in calls:
        assert ("--add-opens" in call) == (version == "17.0.1")
        assert str(jars / JARS[1]) in call[call.index("-cp") + 1].split(os.pathsep)
        arguments = call[call.index("edu.anu.spice.SpiceScorer") + 1 :]
        written = [arguments[0]] + [arguments[arguments.index(n) + 1] for n in ("-out", "-cache")]
        for path in written:  # in a temporary folder, which is gone
            assert "site-packages" not in path
            assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("time.sleep(100)", "did not finish within"),
        ("sys.exit('java.lang.reflect.InaccessibleObjectException: no')", "InaccessibleObject"),
        ("sys.exit('java.lang.OutOfMemoryError: heap space')", "give it more memory"),
        ("", "did not write a score for each caption"),
        (
            ANSWERS.replace("rows[::-1]", "rows[1:]"),
            "did not write a score for each caption (KeyError(0))",
        ),
        (ANSWERS.replace("len(row", "0 * len(row"), "found nothing named"),
    ],
)
def test_whatever_java_does_spice_says_why(answers, said, tmp_path, monkeypatch, jars):
    fake(tmp_path / "bin", monkeypatch, answers)
    monkeypatch.setattr("capjax.metrics.spice.PARSES", 100.0)
    scores = score_captions(CANDIDATES, REFERENCES, metrics=["spice"], patience=3)
    assert scores["spice"] is None
    assert said in scores["unavailable"]["spice"]
    assert "\n" not in scores["unavailable"]["spice"]
