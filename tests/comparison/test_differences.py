"""Are differences from a run those of the same images, with the standard error of their mean?"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from capjax.compare import main
from capjax.comparison.differences import differences
from capjax.comparison.plain import long_csv, markdown
from capjax.comparison.scorefiles import read
from capjax.comparison.tables import compare
from capjax.errors import InputError
from capjax.evaluation import measure, write_evaluation

JUDGE = {"listener": {"run": "l", "step": 3, "parameters": "0a"}}
RANK = "listener_retrieval_rank@100"
N = 60


@pytest.fixture
def run(tmp_path):
    """Writes a run's scores as evaluate does, with what it writes of each image."""

    def write(name: str, seed: int, *, images: int = N, **changes) -> Path:
        draw = np.random.default_rng(seed)
        cider, ranks = draw.gamma(1, 0.5, images), draw.integers(1, 100, images)
        rows = [
            {"id": str(i), "caption": "", "cider_d": float(cider[i]), RANK: float(ranks[i])}
            | {"bleu_4": 0.9, "true": bool(ranks[i] % 2)}
            for i in draw.permutation(images)
        ]
        scores = {
            "run": name,
            "dataset": "d",
            "n_images": 100,
            "n_samples": 1,
            "references": "all 5",
            "df": "these references",
            "tokenizer": "plain",
            "decoding": {"method": "beam", "width": 3},
            "judges": JUDGE,
            "bleu_4": 0.3,
            "cider_d": float(np.mean(cider)),
            "true": float(np.mean(ranks % 2)),
            "listener_retrieval_r10@100": float(np.mean(ranks <= 10)),
            "listener_retrieval_mean_rank@100": float(np.mean(ranks)),
            "listener_retrieval_median_rank@100": float(np.median(ranks)),
        }
        folder = tmp_path / name
        folder.mkdir()
        (folder / "captions.json").write_text(json.dumps(rows))
        (folder / "scores.json").write_text(json.dumps(scores | changes))
        return folder

    return write


def values(folder: Path) -> dict[str, np.ndarray]:
    """What each image adds to the means, by plain numpy."""
    rows = sorted(json.loads((folder / "captions.json").read_text()), key=lambda row: row["id"])
    ranks = np.array([row[RANK] for row in rows])
    return {
        "cider_d": np.array([row["cider_d"] for row in rows]),
        "true": np.array([row["true"] for row in rows], float),
        "listener_retrieval_r10@100": (ranks <= 10).astype(float),
        "listener_retrieval_mean_rank@100": ranks,
    }


def less(baseline, *folders: Path):
    [_, found] = differences(compare(read(folders)[0]), str(baseline))
    return found


def test_differences_are_paired_and_have_the_error_of_their_mean(run):
    base, one, two = run("base", 0), run("one", 1), run("two", 2)
    found = less("base", base, one, two)
    assert [row.run for row in found.rows] == ["one", "two"]
    for row, folder in zip(found.rows, (one, two), strict=True):
        theirs = values(base)
        assert row.scores.keys() == theirs.keys()
        for name, mine in values(folder).items():
            apart = mine - theirs[name]
            assert row.scores[name] == pytest.approx(apart.mean(), abs=1e-12)
            error = np.std(apart, ddof=1) / math.sqrt(N)
            assert row.spread[name] == pytest.approx(error, rel=1e-12)
    text = markdown([found])
    assert "Differences from base: d" in text
    assert "bleu_4, listener_retrieval_median_rank@100: it is no mean over the im" in text
    assert "\u0394 cider_d" in long_csv([found])


def test_marked_is_what_lies_beyond_two_standard_errors(run):
    base, same = run("base", 0), run("same", 0)
    rows = json.loads((same / "captions.json").read_text())
    for n, row in enumerate(rows):
        row["cider_d"] += 0.1 + 0.01 * (n % 2)  # every image by far more than its noise
        row[RANK] += n % 2 - 0.5  # half up, half down
    (same / "captions.json").write_text(json.dumps(rows))
    scores = json.loads((same / "scores.json").read_text())
    scores["cider_d"] = np.mean([row["cider_d"] for row in rows])
    scores["listener_retrieval_mean_rank@100"] = np.mean([row[RANK] for row in rows])
    (same / "scores.json").write_text(json.dumps(scores))
    found = less(base, base, same)
    assert found.best == {(0, "cider_d")}
    assert "**+0.105 \u00b1 0.001**" in markdown([found])


def test_what_evaluate_writes_has_differences(tmp_path):
    texts = ["a dog runs", "a red ball on the grass", "two men talk", "a cat"]
    references = {i: [text, f"{text} outside", f"there is {text}"] for i, text in enumerate(texts)}
    told = {"run": "", "dataset": "d", "decoding": {"method": "greedy"}}
    for name, said in (("base", texts[::-1]), ("other", [texts[0], *texts[2:], "a dog"])):
        candidates = {i: [text] for i, text in enumerate(said)}
        found = measure(candidates, references, metrics=["bleu", "cider_d", "rouge_l"])
        (tmp_path / name).mkdir()
        write_evaluation(tmp_path / name, "", found._replace(scores=told | found.scores))
    folders = [tmp_path / "base", tmp_path / "other"]
    for folder in folders:
        path = folder / "scores.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"run": folder.name}))
    [row] = less(folders[0], *folders).rows
    base, other = (json.loads((folder / "scores.json").read_text()) for folder in folders)
    assert row.scores.keys() == {"cider_d", "rouge_l"}
    for name, value in row.scores.items():
        assert value == pytest.approx(other[name] - base[name], abs=1e-12)


def test_each_decoding_is_compared_with_the_same_of_the_baseline(run):
    greedy = {"decoding": {"method": "greedy"}}
    base, one, two = run("base", 0), run("one", 1), run("two", 2, **greedy)
    again = run("again", 3, **greedy | {"run": "base"})
    found = less("base", base, again, one, two)
    assert found.labels == ["one, beam 3", "two, greedy"]
    theirs = [values(base), values(again)]
    for row, mine, base_ in zip(found.rows, (one, two), theirs, strict=True):
        apart = (values(mine)["cider_d"] - base_["cider_d"]).mean()
        assert row.scores["cider_d"] == pytest.approx(apart, abs=1e-12)
    # Of another decoding it says so, and of several by the same it does not choose.
    found = less(base, base, two)
    assert found.labels == ["two, greedy, less base, beam 3"]
    twin = run("twin", 4, run="base")
    assert "name one file" in markdown([less("base", base, twin, one)])
    assert "name one file" not in markdown([less(base / "scores.json", base, twin, one)])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"judges": {"listener": JUDGE["listener"] | {"parameters": "0b"}}}, "by another judge"),
        ({"true": None, "e_gan": 0.5}, "e_gan: base has no value"),
        ({"images": N - 1}, "base was scored on other images"),
        ({"cider_d": 0.123}, "cider_d, listener_retrieval_median_rank@100: it is no mean"),
    ],
)
def test_what_cannot_be_paired_has_a_reason(run, changes, why):
    assert why in markdown([less("base", run("base", 0), run("other", 1, **changes))])


def test_what_each_run_judges_itself_has_no_difference(run):
    folders = [run(name, seed) for seed, name in enumerate("ab")]
    for folder in folders:
        path = folder / "captions.json"
        rows = [row | {"own_accuracy@2": True} for row in json.loads(path.read_text())]
        path.write_text(json.dumps(rows))
        path = folder / "scores.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"own_accuracy@2": 1.0}))
    assert "own_accuracy@2: each run has its own judge of it" in markdown([less("a", *folders)])


def test_without_its_captions_a_run_has_no_differences_but_the_reason(run):
    base, other = run("base", 0), run("other", 1)
    (base / "captions.json").unlink()
    found = less("base", base, other)
    assert not found.columns
    assert any(f"there is no {base / 'captions.json'}" in said for said in found.lacks)
    (base / "captions.json").write_text('{"id": 1}')
    with pytest.raises(InputError, match="holds no captions of images"):
        less("base", base, other)


def test_a_baseline_that_is_not_there_is_named(run, tmp_path, capsys):
    folder = run("one", 0)
    assert main([str(folder), "--against=elsewhere", f"--out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert said == "capjax: --against=elsewhere is none of the runs compared: one\n"


def test_the_command_shows_differences_beside_the_tables(run, tmp_path, capsys):
    folders = [str(run("base", 0)), str(run("other", 1))]
    assert main([*folders, "--against=base", f"--out={tmp_path / 'out'}"]) == 0
    assert "Differences from base" in capsys.readouterr().out
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.count("Differences from base") == 1
    assert "2 runs side by side" in page
