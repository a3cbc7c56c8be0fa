"""Do runs that differ by their seeds alone, and no others, meet in one mean, with its deviation?"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from capjax.comparison.plain import long_csv, markdown, terminal
from capjax.comparison.scorefiles import read
from capjax.comparison.seeds import called
from capjax.comparison.side_by_side import comparison_page
from capjax.comparison.tables import compare
from capjax.comparison.tradeoff import choose, plots

SETTINGS = {
    "recipe": "mle",
    "seed": 0,
    "init_from": "",
    "log_every": 20,
    "data": {"name": "flickr8k", "cache": "", "resident": 1024},
    "mle": {"learning_rate": 2e-3},
}
SCORES = {
    "dataset": "flickr8k",
    "split": "val",
    "step": 100,
    "decoding": {"method": "beam", "width": 3},
    "n_images": 1000,
    "n_samples": 1,
    "references": "all 5",
    "df": "these references",
    "tokenizer": "ptb (java)",
    "distinct_words": 300,
}


@pytest.fixture
def run(tmp_path):
    """Writes a run's folder: its settings, and what evaluate made of it."""

    def write(name: str, settings: dict, **scores) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(SETTINGS | settings))
        (folder / "scores.json").write_text(json.dumps(SCORES | {"run": name} | scores))
        return folder

    return write


def tables_of(*folders: Path):
    return compare(read(folders)[0])


def test_runs_that_differ_by_seed_have_their_mean_and_deviation_beside_them(run):
    in_parts = SETTINGS["mle"] | {"accumulate": 4}
    cider, words = [0.41, 0.44, 0.42], [301, 299, 302]
    seeds = [
        run("nic", {}, cider_d=cider[0], distinct_words=words[0], step=7),
        run("nic-s1", {"seed": 1, "mle": in_parts}, cider_d=cider[1], distinct_words=words[1]),
        # How much is in memory at once and how often it is logged changes no result.
        run(
            "nic-seed2",
            {"seed": 2, "log_every": 1, "data": {"name": "flickr8k", "cache": "x", "resident": 0}},
            cider_d=cider[2],
            distinct_words=words[2],
        ),
    ]
    other = run("fast", {"mle": {"learning_rate": 4e-3}}, cider_d=0.43)
    [each, means] = tables = tables_of(*seeds, other)
    assert [row.run for row in each.rows] == ["nic", "nic-s1", "nic-seed2", "fast"]
    assert [row.run for row in means.rows] == ["nic (3 seeds)", "fast"]
    lines = {
        (line["label"], line["measure"]): line
        for line in csv.DictReader(io.StringIO(long_csv(tables)))
    }
    for name, values in (("cider_d", cider), ("distinct_words", words)):
        line = lines["nic (3 seeds), beam 3", name]
        assert float(line["value"]) == pytest.approx(np.mean(values), rel=1e-12)
        assert float(line["spread"]) == pytest.approx(np.std(values, ddof=1), rel=1e-12)
        assert line["file"].split("; ") == [str(folder / "scores.json") for folder in seeds]
    assert lines["nic-s1, beam 3", "cider_d"]["spread"] == ""
    assert means.best == {(1, "cider_d"), (0, "distinct_words")}
    for shown in (terminal(tables, 200), markdown(tables), comparison_page(tables, [], [])):
        assert "0.423 \u00b1 0.015" in shown.replace("\xa0", " ")
        assert "nic (3 seeds) is the mean of nic, nic-s1, nic-seed2" in shown
        assert shown.count("Over seeds: flickr8k val") == 1
    assert "4 runs side by side" in comparison_page(tables, [], [])


def test_a_mean_is_no_point_of_a_plot(run):
    folders = [run(f"nic-{seed}", {"seed": seed}, cider_d=0.4 + seed / 100) for seed in (0, 1)]
    tables = tables_of(*folders)
    assert len(tables) == 2
    wanted = {"quality": None, "diversity": None, "distinctiveness": None}
    [diversity, _] = plots(tables, choose(tables, wanted))
    [(table, drawn)] = diversity.panels
    assert table is tables[0]
    assert len(drawn.curves) == 2


@pytest.mark.parametrize(
    ("settings", "scores"),
    [
        ({"mle": {"learning_rate": 1e-3}}, {}),
        ({"data": {"name": "flickr8k", "path": "elsewhere"}}, {}),
        ({"seed": 0}, {}),
        ({"seed": "1"}, {}),
        ({}, {"decoding": {"method": "beam", "width": 5}}),
        ({}, {"n_samples": 5}),
        ({}, {"split": "test"}),
        ({}, {"step": None}),  # captions of a file, scored into the folder
    ],
)
def test_runs_that_differ_by_more_than_the_seed_are_not_one(run, settings, scores):
    folders = [run("a", {}), run("b", {"seed": 1} | settings, **scores)]
    rows = [row for table in tables_of(*folders) for row in table.rows]
    assert len(rows) == 2
    assert not any(row.over for row in rows)


def test_a_setting_that_a_run_is_older_than_is_what_it_did_then(run):
    folders = [run("a", {}), run("b", {"seed": 1, "dtype": "float32"})]
    folders.append(run("c", {"seed": 2, "dtype": "bfloat16"}))
    assert [row.run for row in tables_of(*folders)[1].rows] == ["a + b (2 seeds)", "c"]


def test_so_is_a_setting_of_a_stage(run):
    newer = SETTINGS["mle"] | {"stop_weight": 1.0}
    [_, means] = tables_of(run("a", {}), run("b", {"seed": 1, "mle": newer}))
    assert [row.run for row in means.rows] == ["a + b (2 seeds)"]
    newer = SETTINGS["mle"] | {"stop_weight": 5.0}
    assert len(tables_of(run("c", {}), run("d", {"seed": 1, "mle": newer}))) == 1


def test_a_run_evaluated_twice_counts_for_no_two_seeds(run):
    folders = [run("a", {}, cider_d=0.4), run("b", {"seed": 1}, cider_d=0.5)]
    again = json.loads((folders[0] / "scores.json").read_text())
    (folders[0] / "scores-again.json").write_text(json.dumps(again | {"seed": 1}))
    assert [len(table.rows) for table in tables_of(*folders)] == [3]


def test_a_chain_of_trainings_by_another_seed_each_is_one_training(run):
    starts = [run(f"mle-{seed}", {"seed": seed}) for seed in (0, 1)]
    chains = [
        run(f"cl-{n}", {"recipe": "contrastive", "seed": 5, "init_from": str(start)}, cider_d=n)
        for n, start in enumerate(starts)
    ]
    assert [row.run for row in tables_of(*chains)[1].rows] == ["cl (2 seeds)"]
    # Of a start that is not there only the name is known.
    lost = run("cl-2", {"recipe": "contrastive", "seed": 6, "init_from": "gone"})
    means = tables_of(*chains, lost)[1]
    assert sorted(row.run for row in means.rows) == ["cl (2 seeds)", "cl-2"]


def test_runs_that_name_one_another_as_their_start_are_read(run, tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        run(one, {"init_from": str(tmp_path / other)})
    assert len(tables_of(tmp_path / "a", tmp_path / "b")[0].rows) == 2


def test_a_measure_that_one_seed_lacks_has_no_mean_but_a_reason(run):
    folders = [run("a-0", {}, cider_d=0.4, lsa=0.5), run("a-1", {"seed": 1}, cider_d=0.5)]
    means = tables_of(*folders)[1]
    assert "lsa" not in means.rows[0].scores
    assert "lsa: not of every seed: a-1 has no value" in markdown([means])


def test_what_other_judges_said_of_two_seeds_has_no_mean(run):
    def judged(parameters: str) -> dict:
        judge = {"run": "l", "step": 3, "parameters": parameters}
        return {"listener_retrieval_r10@1000": 0.5, "judges": {"listener": judge}}

    one, other, same = (
        run(name, {"seed": seed}, cider_d=0.5, **judged(by))
        for seed, (name, by) in enumerate([("a-0", "0a"), ("a-1", "0b"), ("a-2", "0a")])
    )
    means = tables_of(one, other)[1]
    assert list(means.rows[0].scores) == ["distinct_words", "cider_d"]
    assert "the listener of every seed is another, or not told" in markdown([means])
    means = tables_of(one, same)[1]
    assert means.rows[0].scores["listener_retrieval_r10@1000"] == 0.5


def test_n_minus_1_has_its_own_means_and_people_have_none(run):
    n1 = "4 of 5, one held out (seed 0)"
    people = {"n-1 human": {"references": n1, "cider_d": 0.9}}

    def held_out(n: int) -> dict:
        return people | {"n-1": {"references": n1, "cider_d": n}}

    folders = [run(f"a-{n}", {"seed": n}, cider_d=0.5, **held_out(n)) for n in (0, 1)]
    means = [table for table in tables_of(*folders) if table.kind == "seeds"]
    assert [row.run for row in means[1].rows] == ["a (2 seeds)", "people"]
    assert means[1].rows[0].scores["cider_d"] == 0.5
    assert means[1].rows[1].over == ()


@pytest.mark.parametrize(
    ("runs", "name"),
    [
        (["cl", "cl-s1", "cl_seed2"], "cl (3 seeds)"),
        (["0", "1"], "0 + 1 (2 seeds)"),
        (["first", "second"], "first + second (2 seeds)"),
        (["class-1", "class-2"], "class (2 seeds)"),
    ],
)
def test_seeds_are_called_by_what_their_runs_have_in_common(runs, name):
    assert called(runs) == name
