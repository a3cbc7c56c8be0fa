"""Do only comparable evaluations meet in a table, under names and numbers that are theirs?"""

import csv
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from capjax.compare import main
from capjax.comparison.differences import differences
from capjax.comparison.labels import spell
from capjax.comparison.measures import in_order, measure
from capjax.comparison.plain import long_csv, markdown, terminal
from capjax.comparison.scorefiles import read
from capjax.comparison.side_by_side import comparison_page
from capjax.comparison.tables import compare, curves
from capjax.comparison.tradeoff import choose, plots
from capjax.errors import InputError
from capjax.report.labels import sides

WANTED = {"quality": None, "diversity": None, "distinctiveness": None}
DIGESTS = {"references": "a" * 16, "held_out": "b" * 16, "images": "c" * 16}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b`c`*d*_e_[f](g) ![h](i) $x^2$ \\",
    "_hidden",
    "\ud800\x1b[31m\u2028red",
    "=cmd, with \"quotes\", and 'commas'",
    "a" * 300,
]


def scores(**changes) -> dict:
    """What evaluate writes, with other values in places; ... takes a key out."""
    content = {
        "run": "mle",
        "dataset": "flickr8k",
        "split": "val",
        "step": 100,
        "decoding": {"method": "sample", "samples": 5, "temperature": 0.7, "max_len": 20},
        "n_images": 1000,
        "n_samples": 5,
        "references": "all 5",
        "df": {"source": "these references", "n": 1000},
        "tokenizer": "ptb (java)",
        "digests": DIGESTS,
        "versions": {"jax": "0.10.2"},
        "bleu_4": 0.2,
        "cider_d": 0.1 + 0.2,
        "spice": None,
        "mbleu4_sent": 0.5,
        "self_cider": 2 / 3,
        "distinct_words": 1234,
        "self_retrieval_r1@1000": 0.1,
        "self_retrieval_median_rank@1000": 20.5,
        "unavailable": {"spice": "no parser; put it there"},
    }
    return {name: value for name, value in (content | changes).items() if value is not ...}


def sampled(temperature: float, **changes) -> dict:
    return scores(decoding=scores()["decoding"] | {"temperature": temperature}, **changes)


def beam(**changes) -> dict:
    single = {"mbleu4_sent": ..., "self_cider": ..., "n_samples": 1}
    return scores(**{"decoding": {"method": "beam", "width": 3}} | single | changes)


def held_out(value: float) -> dict:
    n1 = "4 of 5, one held out (seed 0)"
    return {
        "n-1": {"references": n1, "cider_d": value},
        "n-1 human": {"references": n1, "cider_d": 0.9},
    }


@pytest.fixture
def files(tmp_path):
    """Writes files of scores; returns their paths."""

    def write(*contents: dict) -> list[Path]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"scores-{number}.json" for number, _ in enumerate(contents)]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        return paths

    return write


def tables_of(paths):
    return compare(read(paths)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "coco", "digests": ...},
        {"split": "test"},
        {"n_images": 999},
        {"references": "4 of 5"},
        {"df": {"source": "train", "n": 1000}},
        {"df": {"source": "these references", "n": 999}},
        {"tokenizer": "whitespace"},
        {"dataset": ..., "digests": ...},
        {"df": None},
        {"split": ...},  # as of captions in a file
    ],
    ids=str,
)
def test_a_row_under_other_conditions_is_in_another_table(files, change):
    rest = {"digests": ...} if "digests" in change else {}
    paths = files(sampled(0.5, **rest), sampled(0.7, **rest), sampled(0.7, **change))
    assert [len(table.rows) for table in tables_of(paths)] == [2, 1]
    # Two files that both do not tell are not known to be alike.
    same = tables_of(files(sampled(0.5, **change), sampled(0.7, **change)))
    untold = change.get("dataset") is ... or change == {"df": None}
    assert [len(table.rows) for table in same] == ([1, 1] if untold else [2])


def known(references="a" * 16, held_out="b" * 16, images="c" * 16, **others) -> dict:
    told = {"references": references, "held_out": held_out, "images": images, **others}
    return {"digests": {name: value for name, value in told.items() if value}}


@pytest.mark.parametrize("other", ["references", "images"])
def test_other_references_or_images_of_the_same_number_are_in_another_table(files, other):
    """Whatever the name of the dataset, the ids and the counts."""
    paths = files(sampled(0.5), sampled(0.7), sampled(0.7, **known(**{other: "0" * 16})))
    tables = tables_of(paths)
    assert [len(table.rows) for table in tables] == [2, 1]
    assert tables[0].settings != tables[1].settings
    labels = [label for table in tables for label in table.labels]
    assert len(set(labels)) == 3


def test_other_held_out_captions_are_in_another_table_of_the_n_minus_1_protocol(files):
    other = sampled(0.7, **known(held_out="0" * 16)) | held_out(0.3)
    tables = tables_of(files(sampled(0.5) | held_out(0.4), other))
    assert [len(table.rows) for table in tables] == [2, 2, 2]  # with people, each


def test_files_that_tell_no_digest_stand_apart_from_those_that_do_and_are_told_of(files):
    paths = files(sampled(0.5), sampled(0.7, digests=...), sampled(0.9, digests=...))
    rows, notes = read(paths)
    assert [len(table.rows) for table in compare(rows)] == [1, 2]
    assert [note.partition(" does not tell which references")[0] for note in notes] == [
        str(path) for path in paths[1:]
    ]
    assert all("evaluate it again" in note for note in notes)


def test_captions_of_a_file_meet_those_of_a_run_on_the_same_references(files):
    """They tell no images; where those of the runs differ they could be of either, and are not."""
    file = scores(run="file", split="val", step=..., decoding=..., **known(images=""))
    [table] = tables_of(files(sampled(0.5), file))
    assert table.conditions.images == "c" * 16
    other = sampled(0.7, **known(images="0" * 16))
    assert [len(table.rows) for table in tables_of(files(sampled(0.5), other, file))] == [1, 1, 1]


@pytest.mark.parametrize("dataset", ["dataset_flickr8k", ...])
def test_the_name_of_a_dataset_is_a_label_where_digests_tell_the_references(files, dataset):
    """A run's is "flickr8k", and that of captions in a file the name of the references' file."""
    file = beam(run="file", step=..., dataset=dataset, **known(images="")) | held_out(0.3)
    run = beam() | held_out(0.4)
    for paths in (files(file, run), files(run, file)):
        rows, notes = read(paths)
        assert not notes
        tables = differences(compare(rows), "mle")
        assert [(table.kind, len(table.rows)) for table in tables] == [
            ("", 2),
            ("differences", 1),
            ("", 3),  # people once
        ]
        assert all("flickr8k val" in table.title for table in tables)
        assert not any("dataset_" in table.title for table in tables)


def test_novel_captions_compete_among_those_of_one_training_set_only(files):
    one, two = known(known="1" * 16), known(known="2" * 16)
    paths = files(
        sampled(0.5, novel=0.1, **one),
        sampled(0.7, novel=0.2, **one),
        sampled(0.9, novel=0.9, **two),
    )
    [table] = tables_of(paths)
    assert (1, "novel") in table.best
    assert (2, "novel") not in table.best
    assert "novel: among rows with the same training captions" in terminal([table])


def test_a_file_that_does_not_tell_its_conditions_is_said_to(files):
    _, notes = read(files(scores(dataset=..., tokenizer=..., digests=...)))
    assert "does not tell dataset, tokenizer" in notes[0]


def test_document_frequencies_in_both_spellings_are_the_same(files):
    paths = files(sampled(0.5), sampled(0.7, df="these references, N=1000"))
    assert len(tables_of(paths)) == 1


def test_the_dataset_of_an_older_file_is_that_of_the_run_beside_it(files):
    paths = files(sampled(0.5), sampled(0.7, dataset=..., run=...))
    (paths[0].parent / "config.json").write_text('{"data": {"name": "flickr8k"}}')
    [table] = tables_of(paths)
    assert table.labels == ["mle, sample x5 t=0.5", "in, sample x5 t=0.7"]


def test_n_minus_1_is_never_in_a_table_with_all_references(files):
    contents = [
        sampled(0.5) | held_out(0.4),
        sampled(0.7) | held_out(0.3),
        # Even where the files spell the references the same way.
        sampled(0.9, references="x") | {"n-1": {"references": "x", "cider_d": 0.2}},
    ]
    tables = tables_of(files(*contents))
    for table in tables:
        assert len({row.conditions.protocol for row in table.rows}) == 1
    ordinary = [table for table in tables if table.conditions.protocol != "n-1"]
    n1 = [table for table in tables if table.conditions.protocol == "n-1"]
    assert [len(table.rows) for table in ordinary] == [2, 1]
    assert [len(table.rows) for table in n1] == [3, 1]  # people once, though two files have them
    assert all("n-1" in table.title and "n-1" not in ordinary[0].title for table in n1)
    assert [row.scores["cider_d"] for row in n1[0].rows] == [0.4, 0.3, 0.9]
    assert n1[0].rows[-1].people
    assert n1[0].best == {(0, "cider_d")}  # of the models: people are no competitor

    for text in (terminal(n1), markdown(n1)):
        heads = [line for line in text.split("\n") if "cider_d" in line]
        assert heads
        assert all("n-1 cider_d" in line for line in heads)
    for line in csv.DictReader(io.StringIO(long_csv(tables))):
        assert (line["protocol"] == "n-1") == line["measure"].startswith("n-1 ")


def test_people_scored_otherwise_are_two_rows(files):
    other = held_out(0.3)
    other["n-1 human"]["cider_d"] = 0.8
    [_, n1] = tables_of(files(sampled(0.5) | held_out(0.4), sampled(0.7) | other))
    people = [label for row, label in zip(n1.rows, n1.labels, strict=True) if row.people]
    assert len(set(people)) == 2


def test_n_minus_1_without_references_does_not_inherit_those_of_the_file(files):
    [ordinary, n1] = tables_of(files(scores() | {"n-1": {"cider_d": 0.3}}))
    assert ordinary.conditions.references == "all 5"
    assert n1.conditions.references is None


def test_no_two_labels_look_alike(files):
    deep = {"method": "sample", "samples": 5, "temperature": 0.7, "max_len": 30}
    paths = files(
        scores(),
        scores(step=200),
        scores(split="test"),
        scores(run="gan"),
        scores(seed=1),
        scores(decoding=deep),
        scores(run="twins", decoding=deep),
        scores(run="twins", decoding=deep),
        beam(),
        beam(decoding={"method": "greedy", "width": 3, "temperature": 2.0}),
        scores(decoding=...),
        scores(run="mle, greedy"),
    )
    tables = tables_of(paths)
    labels = [label for table in tables for label in table.labels]
    assert len(set(labels)) == len(labels) == len(paths)
    assert "mle, greedy" in labels  # a beam's width and a temperature wait for their methods
    assert "mle, beam 3" in labels
    assert "gan, sample x5 t=0.7" in labels  # nothing more than it takes


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        ({"method": "greedy", "max_len": 20}, "greedy"),
        ({"method": "beam", "width": 5, "groups": 1, "diversity": 0.0}, "beam 5"),
        (
            {"method": "beam", "width": 6, "groups": 3, "diversity": 0.5},
            "beam 6 groups=3 diversity=0.5",
        ),
        ({"method": "beam", "width": 5, "samples": 3}, "beam 5 x3"),
        ({"method": "sample", "samples": 5, "temperature": 1.0}, "sample x5 t=1"),
        ({"method": "sample", "temperature": 0.5}, "sample t=0.5"),
        (
            {"method": "sample", "samples": 5, "temperature": 0.7, "top_k": None, "top_p": 0.9},
            "sample x5 t=0.7 top_p=0.9",
        ),
        (
            {"method": "emitter_suppressor", "rationality": 0.5},
            "emitter_suppressor rationality=0.5",
        ),
    ],
)
def test_a_decoding_in_words(decoding, words):
    assert spell(decoding) == words


def test_a_curve_has_one_runs_temperatures_in_their_order(files):
    paths = files(
        *(sampled(t, cider_d=t) for t in (1.0, 0.3, 1.2, 0.7)),
        sampled(0.5, run="gan"),
        sampled(0.9, step=200),
        sampled(0.9, n_samples=10),
        sampled(0.9, seed=1),
        beam(),
    )
    [table] = tables_of(paths)
    found = curves(table)
    [line] = [curve for curve in found if curve.setting]
    assert line.setting == "temperature"
    assert [table.rows[i].decoding["temperature"] for i in line.rows] == [0.3, 0.7, 1.0, 1.2]
    assert {table.rows[i].run for i in line.rows} == {"mle"}
    assert line.name == "mle, sample x5 t=0.3 to 1.2"
    assert sorted(i for curve in found for i in curve.rows) == list(range(len(paths)))


def test_rows_that_differ_in_two_numbers_are_not_joined(files):
    one = {"method": "sample", "samples": 5, "temperature": 0.5, "top_p": 0.9}
    two = {"method": "sample", "samples": 5, "temperature": 0.7, "top_p": 0.8}
    [table] = tables_of(files(scores(decoding=one), scores(decoding=two)))
    assert [curve.setting for curve in curves(table)] == ["", ""]


def test_the_best_is_the_lowest_where_lower_is_better(files):
    [table] = tables_of(
        files(
            sampled(0.3, **{"mbleu4_sent": 0.4, "self_retrieval_median_rank@1000": 9.0}),
            sampled(0.5, mbleu4_sent=0.3, cider_d=0.9, bleu_4=0.3),
            sampled(0.7, cider_d=0.9, mean_length=9.0),
            beam(self_cider=0.9),  # of another number of captions: no rival in this
        )
    )
    labels = {(table.labels[row].split()[-1], name) for row, name in table.best}
    assert labels == {
        ("t=0.3", "self_retrieval_median_rank@1000"),
        ("t=0.5", "mbleu4_sent"),
        ("t=0.5", "bleu_4"),
        ("t=0.5", "cider_d"),  # a tie
        ("t=0.7", "cider_d"),
    }
    assert measure("self_retrieval_median_rank@1000").better == -1
    assert measure("clip_retrieval_r5@500").group == "distinctiveness"
    assert measure("something").better == 0


def test_columns_stand_by_what_they_tell_and_numbers_by_size():
    names = ["x_retrieval_r10@5", "x_retrieval_r5@5", "new", "lsa", "cider_d", "bleu_4", "bleu_1"]
    assert [found.name for found in in_order(set(names))] == [
        "bleu_1", "bleu_4", "cider_d", "lsa", "x_retrieval_r5@5", "x_retrieval_r10@5", "new",
    ]  # fmt: skip


def test_csv_holds_exactly_the_numbers_and_every_dash_with_its_reason(files):
    contents = [sampled(0.3) | held_out(1 / 7), sampled(0.7, cider_d=1e-17, novel=0.5), beam()]
    tables = tables_of(files(*contents))
    lines = list(csv.DictReader(io.StringIO(long_csv(tables))))
    found = {
        (line["file"], line["people"], line["measure"]): line["value"]
        for line in lines
        if line["value"]
    }
    expected = {}
    for path, content in zip(files(*contents), contents, strict=True):
        for name, value in content.items():
            if isinstance(value, float) or name == "distinct_words":
                expected[str(path), "no", name] = value
        for key, people in (("n-1", "no"), ("n-1 human", "yes")):
            if key in content:
                expected[str(path), people, "n-1 cider_d"] = content[key]["cider_d"]
    assert {key: type(expected[key])(value) for key, value in found.items()} == expected
    dashes = {(line["label"], line["measure"]): line["reason"] for line in lines if line["reason"]}
    assert "--samples=5" in dashes["mle, beam 3", "self_cider"]
    assert all(bool(line["value"]) != bool(line["reason"]) for line in lines)


def test_details_are_in_the_csv_and_the_tables_say_so(files):
    paths = files(sampled(0.3, div1=0.5, div3_ngram=0.25), sampled(0.7, div1=0.6))
    [table] = tables_of(paths)
    assert "div3_ngram" in long_csv([table])
    for text in (terminal([table]), markdown([table]), comparison_page([table], [], [])):
        assert text.count("div3_ngram") == 1
        assert "In table.csv only: div3_ngram." in text


def test_captions_scored_from_files_need_no_split_nor_decoding(files):
    rows, notes = read(files(*(scores(run=r, split=..., decoding=...) for r in ("a", "b"))))
    [table] = compare(rows)
    assert table.labels == ["a", "b"]
    assert table.title == "flickr8k, references: all 5"
    assert notes == []


def test_what_is_missing_is_a_dash_with_the_reason_beneath(files):
    [table] = tables_of(files(scores(), beam(unavailable={"self_cider": "why not"})))
    for text in (terminal([table]), markdown([table]), comparison_page([table], [], [])):
        assert "self_cider: why not (mle, beam 3)" in text
        assert "spice: no parser; put it there (mle, sample x5 t=0.7)" in text
    line = next(ln for ln in markdown([table]).split("\n") if ln.startswith("| mle, beam 3 |"))
    assert "| 0.200 | 0.300 |" in line


def test_plots_are_of_what_has_both_measures_and_say_what_is_not_drawn(files):
    tables = tables_of(files(sampled(0.3), sampled(0.7), scores(run="gan"), beam()))
    chosen = choose(tables, WANTED)
    assert [m.name for m in chosen.values()] == ["cider_d", "self_cider", "self_retrieval_r1@1000"]
    diversity, distinctiveness = plots(tables, chosen)
    [(_, drawn)] = diversity.panels
    assert {point.name for curve in drawn.curves for point in curve.points} == {
        "mle, sample x5 t=0.3",
        "mle, sample x5 t=0.7",
        "gan, sample x5 t=0.7",
    }
    assert "mle, beam 3" in drawn.note
    assert [(p.label, p.x, p.y) for p in drawn.curves[0].points] == [
        ("0.3", 2 / 3, 0.1 + 0.2),
        ("0.7", 2 / 3, 0.1 + 0.2),
    ]
    [(_, drawn)] = distinctiveness.panels
    assert sum(len(curve.points) for curve in drawn.curves) == 4
    assert "no common judge" in drawn.note


def test_a_plot_without_points_says_which_flags_give_them(files):
    tables = tables_of(files(beam(**{"self_retrieval_r1@1000": ..., "distinct_words": ...})))
    said = [said for plot in plots(tables, choose(tables, WANTED)) for said in plot.missing]
    assert len(said) == 2
    assert "--retrieval=1000" in said[1]


def test_diversity_of_other_numbers_of_captions_is_another_plot(files):
    twos = [beam(n_samples=2, self_cider=0.3, run=run) for run in ("mle", "gan")]
    tables = tables_of(files(*twos, sampled(0.3), sampled(0.7)))
    diversity, _ = plots(tables, choose(tables, WANTED))
    drawn = [
        {point.name for curve in plot.curves for point in curve.points}
        for _, plot in diversity.panels
    ]
    assert drawn == [
        {"mle, beam 3", "gan, beam 3"},
        {"mle, sample x5 t=0.3", "mle, sample x5 t=0.7"},
    ]
    # What is a mean over samples of one caption an image each does not depend on their number.
    diversity, _ = plots(tables, choose(tables, WANTED | {"diversity": "distinct_words"}))
    assert len(diversity.panels) == 1


def test_distinctiveness_is_retrieval_else_what_scenes_tell(files):
    gone = {"self_retrieval_r1@1000": ...}
    tables = tables_of(files(scores(**gone, identifies=0.5), scores(**gone, run="gan")))
    assert choose(tables, WANTED)["distinctiveness"].name == "identifies"
    tables = tables_of(files(scores(**gone, **{"clip_retrieval_r10@500": 0.5}, identifies=0.5)))
    assert choose(tables, WANTED)["distinctiveness"].name == "clip_retrieval_r10@500"


def apart(rationality: float, distractors="hard 1", picked=0.5, **changes) -> dict:
    """Of captions that were told from distractors; the number of these is in the measure's name."""
    told = {"rationality": rationality} | ({"distractors": distractors} if distractors else {})
    number = 1 + int((distractors or "hard 1").split()[1])
    found = {f"listener_accuracy@{number}": picked, f"listener_people_accuracy@{number}": 0.75}
    decoding = {"method": "beam", "width": 3, "max_len": 20} | told
    found |= judged_by("l2")
    return beam(**{"decoding": decoding} | found | {"self_retrieval_r1@1000": ...} | changes)


def judged_by(run: str, parameters: str = "00c0ffee", kind: str = "listener", step=598) -> dict:
    return {"judges": {kind: {"run": run, "step": step, "parameters": parameters}}}


def test_a_captioner_told_from_one_kind_of_distractors_is_a_curve_over_its_rationality(files):
    hard = {1.0: 0.54, 0.5: 0.82, 0.7: 0.73}
    near = {0.5: 0.86, 1.0: 0.69}
    contents = [apart(r, "hard 1", p) for r, p in hard.items()]
    contents += [apart(r, "nearest 1", p, cider_d=r) for r, p in near.items()]
    contents += [apart(0.5, "hard 1", 0.6, run="gan"), apart(0.5, "hard 3", 0.4), scores()]
    tables = tables_of(files(*contents))
    chosen = choose(tables, WANTED)
    assert chosen["distinctiveness"].name == "listener_accuracy@2"
    _, distinctiveness = plots(tables, chosen)
    panels = {panel.title: panel for _, panel in distinctiveness.panels}
    title = "Quality against distinctiveness, distractors: "
    assert set(panels) == {title + "hard 1", title + "nearest 1"}
    drawn = panels[title + "hard 1"]
    curve, other = drawn.curves
    assert curve.name == "mle, beam 3 rationality=0.5 to 1 distractors=hard 1"
    assert [(p.label, p.x) for p in curve.points] == [("0.5", 0.82), ("0.7", 0.73), ("1", 0.54)]
    assert [(p.label, p.x) for p in other.points] == [("", 0.6)]
    assert "Numbers beside points: rationality." in drawn.note
    assert "listener_people_accuracy@2: 0.750." in drawn.note
    assert "are not those of another" in drawn.note  # each captioner has hard ones of its own
    assert "hard 3" in drawn.note  # it lacks the measure
    assert "nearest" not in drawn.note
    [curve] = panels[title + "nearest 1"].curves
    assert [(p.label, p.x, p.y) for p in curve.points] == [("0.5", 0.86, 0.5), ("1", 0.69, 1.0)]
    assert "are not those of another" not in panels[title + "nearest 1"].note


def test_curves_of_other_distractors_are_not_joined(files):
    [table] = tables_of(files(apart(1.0, "hard 1"), apart(0.5, "hard 3"), apart(0.7, "nearest 1")))
    assert [curve.setting for curve in curves(table)] == ["", "", ""]


def test_the_best_pick_is_among_those_told_from_the_same_distractors(files):
    picks = [("hard 1", 0.5), ("hard 1", 0.8), ("nearest 1", 0.7), ("nearest 1", 0.9)]
    paths = files(*(apart(n / 4, told, value) for n, (told, value) in enumerate(picks)))
    [table] = tables_of(paths)
    best = {
        table.rows[row].scores[name] for row, name in table.best if name == "listener_accuracy@2"
    }
    assert best == {0.8, 0.9}
    assert not any("people" in name for _, name in table.best)
    assert "told from distractors: among rows with the same" in terminal([table])
    [table] = tables_of(paths[:2])
    assert "among rows" not in terminal([table])


def test_a_pick_without_another_of_the_same_distractors_leaves_the_plot_to_retrieval(files):
    told = {"self_retrieval_r1@1000": 0.1}
    contents = [scores(), apart(0.5, "hard 1", **told), apart(0.5, "nearest 1", **told)]
    tables = tables_of(files(*contents))
    assert choose(tables, WANTED)["distinctiveness"].name == "self_retrieval_r1@1000"
    wanted = WANTED | {"distinctiveness": "listener_accuracy@2"}
    _, plot = plots(tables, choose(tables, wanted))
    assert not plot.panels
    assert len(plot.missing) == 2  # each would be alone
    # Files that do not tell their distractors are not put beside those that do.
    tables = tables_of(files(*(apart(r, d) for r in (0.5, 1.0) for d in ("hard 1", None))))
    _, plot = plots(tables, choose(tables, WANTED))
    titles = [panel.title.rpartition(": ")[2] for _, panel in plot.panels]
    assert sorted(titles) == ["hard 1", "not told"]


def test_values_by_other_judges_do_not_compete_nor_share_a_plot(files):
    picked = "listener_retrieval_r10@1000"
    judges = [judged_by("a/l1"), judged_by("b/l1", "deadbeef"), judged_by("moved"), {}, {}]
    own = {"self_retrieval_r1@1000": ...}
    contents = [
        beam(
            **own | judge | {"run": f"r{n}", picked: 0.5 + n / 100, "own_listener_accuracy@2": 0.1}
        )
        for n, judge in enumerate(judges)
    ]
    tables = [table] = tables_of(files(*contents))
    assert {row for row, name in table.best if name == picked} == {2}  # of those by the same
    chosen = choose(tables, WANTED | {"distinctiveness": picked})
    _, plot = plots(tables, chosen)
    [(_, drawn)] = plot.panels
    assert len(drawn.curves) == 2
    assert "by l1, step 598, parameters 00c0ffee" in drawn.title
    assert len(plot.missing) == 3
    for shown in (terminal(tables), markdown(tables), comparison_page(tables, [], [])):
        assert "by a judge: among rows with the same" in shown
        assert "parameters 00c0ffee (of r0, beam 3; r2, beam 3)" in shown
        assert "parameters deadbeef (of r1, beam 3)" in shown
        assert shown.count("not told; evaluate again (of r") == 2


def test_one_judge_of_all_is_named_and_no_more(files):
    found = {"e_ngan": 0.6, "e_ngan_people": 0.7} | judged_by("runs/e", kind="e_ngan")
    [table] = tables_of(files(*(beam(run=run, **found) for run in ("a", "b"))))
    assert "e_ngan is e, step 598, parameters 00c0ffee." in terminal([table])
    assert "among rows" not in terminal([table])


def boxes(places, found, size, length=20.0, height=13.0, gap=8.0):
    for (x, y), side in zip(places, found, strict=True):
        if side:
            near = gap if 0 in side else 0.6 * gap
            left = x * size[0] + {-1: -near - length, 0: -length / 2, 1: near}[side.across]
            top = y * size[1] + {-1: -near - height, 0: -height / 2, 1: near}[side.down]
            yield left, top, left + length, top + height


def test_labels_cover_neither_one_another_nor_points_at_any_size():
    places = [((i * 37 % 101) / 101, (i * 61 % 97) / 97) for i in range(60)]
    places += [(0.5, 0.5)] * 3  # on the same spot
    sizes = [(280.0, 220.0), (960.0, 220.0)]
    found = sides(places, [20.0] * 63, sizes=sizes, line_height=13.0, gap=8.0)
    assert sum(side is not None for side in found) > 15
    for size in sizes:
        laid = list(boxes(places, found, size))
        for n, one in enumerate(laid):
            for x, y in places:
                assert not (one[0] < x * size[0] < one[2] and one[1] < y * size[1] < one[3])
            for other in laid[n + 1 :]:
                apart = one[2] <= other[0] or other[2] <= one[0]
                assert apart or one[3] <= other[1] or other[3] <= one[1]


class Shape(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.urls: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.urls += [value for name, value in attrs if name in ("src", "href", "data")]

    def handle_data(self, data):
        self.text += data


def plain_shape(page: str) -> list:
    # Short parts of a label are kept on a line by an element of their own.
    return [element for element in Shape(page).elements if element != ("span", ("style",))]


def compared(folder: Path, told: str) -> Path:
    """The comparison of runs whose every text is the one given."""
    folder.mkdir(exist_ok=True)
    contents = [sampled(t, run=told, unavailable={"spice": told}) for t in (0.3, 0.7)]
    contents += [scores(run=told + "2", **{told: "no number"})]
    for number, content in enumerate(contents):
        (folder / f"scores-{number}.json").write_text(json.dumps(content))
    assert main([str(folder), f"--out={folder / 'out'}"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return compared(tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_text_stays_text_and_the_page_loads_nothing(plain, tmp_path, name):
    out = compared(tmp_path / "in", name)
    page = (out / "compare.html").read_text("utf-8")
    assert plain_shape(page) == plain_shape((plain / "compare.html").read_text("utf-8"))
    assert all(url.startswith("data:") for url in Shape(page).urls)
    rows, _ = read([tmp_path / "in"])
    assert Shape(page).text.count(rows[0].run) >= 4  # in a legend, tables and reasons

    cells = []  # of every line of the Markdown
    for folder in (out, plain):
        markup = (folder / "table.md").read_text("utf-8")
        assert not re.search("<[a-z]", markup)
        cells.append([len(re.findall(r"(?<!\\)\|", line)) for line in markup.split("\n")])
    assert cells[0] == cells[1]
    for file in ("quality-diversity.png", "quality-distinctiveness.png"):
        assert (out / file).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"cider_d": ', "scores.json cannot be read"),
        (b"\xff\xfe", "scores.json cannot be read"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "holds no scores but a list"),
        ('{"run": "x"}', "holds no scores: there is no number in it"),
        ('{"cider_d": NaN}', "cider_d is nan"),
        ('{"cider_d": Infinity}', "cider_d is inf"),
        ('{"cider_d": 1' + "0" * 400 + "}", "an integer of many digits"),
        ('{"cider_d": "0.5"}', "cider_d is '0.5', not a number"),
        ('{"cider_d": true}', "cider_d is True, not a number"),
        ('{"cider_d": 0.5, "step": "x"}', "step is 'x', not a whole number"),
        ('{"cider_d": 0.5, "n-1": [1]}', "'n-1' holds no scores but a list"),
        ('{"cider_d": 0.5, "n-1": {"cider_d": NaN}}', "n-1: cider_d is nan"),
        ('{"cider_d": 0.5, "decoding": "beam"}', "the decoding is 'beam', and has no method"),
        ('{"cider_d": 0.5, "unavailable": "x"}', "'unavailable' holds no reasons but a text"),
        ('{"cider_d": 0.5, "judges": ["x"]}', "'judges' names no judges but is a list"),
        ('{"cider_d": 0.5, "judges": {"listener": "l2"}}', "the judge listener lacks run, step"),
        (
            '{"cider_d": 0.5, "decoding": {"method": "sample", "temperature": NaN}}',
            "the decoding's temperature is nan",
        ),
    ],
)
def test_a_damaged_file_gets_a_sentence_that_names_it(tmp_path, capsys, content, sentence):
    path = tmp_path / "scores.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main([str(tmp_path), f"--out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("capjax: ")
    assert said.count("\n") == 1
    assert sentence in said
    assert str(path) in said
    assert not (tmp_path / "out").exists()


def test_arguments_that_name_no_scores(files, tmp_path):
    [path] = files(scores())
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.json").symlink_to(path)
    for arguments, sentence in [
        ([], "nothing to compare"),
        ([tmp_path / "nowhere"], "there is no folder or file"),
        ([tmp_path / "empty"], "capjax.evaluate --workdir="),
        ([tmp_path], f"such as {path.parent}"),
        ([path, path], "is given twice"),
        ([path.parent, path], "is given twice"),
        ([path, tmp_path / "link.json"], "is given twice"),
    ]:
        with pytest.raises(InputError, match=re.escape(sentence)):
            read(arguments)


def test_flags_that_cannot_be_followed(files, tmp_path, capsys):
    [path] = files(scores())
    (tmp_path / "file").write_text("")
    for flag, sentence in [
        (f"--out={tmp_path / 'file'}", f"--out={tmp_path / 'file'} is no folder"),
        (f"--out={tmp_path / 'file' / 'below'}", f"lie in {tmp_path / 'file'}, which is no folder"),
        ("--quality=ciderd", "they have bleu_4, cider_d"),
    ]:
        assert main([str(path), f"--out={tmp_path / 'out'}", flag]) == 2
        assert sentence in capsys.readouterr().err
    (tmp_path / "out" / "table.md").mkdir(parents=True)
    assert main([str(path), f"--out={tmp_path / 'out'}"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_nothing_of_a_file_is_dropped_silently(files):
    odd = scores(
        note="hello",
        notes=["2 images left out"],
        **{"my_measure": 0.25, "n-1": {"references": "4 of 5"}},
    )
    rows, notes = read(files(odd))
    assert rows[0].scores["my_measure"] == 0.25
    assert any("note is no number" in said for said in notes)
    assert any(said.endswith(": 2 images left out") for said in notes)
    assert any("'n-1' holds no number" in said for said in notes)
    assert "my_measure" in terminal(compare(rows))


def test_pictures_of_an_earlier_comparison_do_not_stay(files, tmp_path):
    out = tmp_path / "out"
    paths = files(sampled(0.3), sampled(0.7))
    assert main([*map(str, paths), f"--out={out}"]) == 0
    assert (out / "quality-diversity.png").exists()
    assert main([str(paths[0]), f"--out={out}"]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["compare.html", "table.csv", "table.md"]


def test_without_matplotlib_the_rest_is_written_and_a_sentence_says_how_to_get_it(
    files, tmp_path, capsys, monkeypatch
):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    paths = files(sampled(0.3), sampled(0.7))
    assert main([*map(str, paths), f"--out={tmp_path / 'out'}"]) == 0
    assert "pip install matplotlib" in capsys.readouterr().err
    assert "0.7</span>" in (tmp_path / "out" / "compare.html").read_text("utf-8")
