"""The commands from end to end, and what they say of bad input."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import told
from small_runs import paint_photos, train_here

from capjax import caption, compare, evaluate
from capjax.data.features import read_photo
from capjax.errors import InputError


def refused(config: dict, workdir: Path, *words: str) -> None:
    """Training refuses in one line that holds the words, and has not begun."""
    with pytest.raises(InputError) as error:
        train_here(config, workdir)
    told = str(error.value)
    assert "\n" not in told
    for word in words:
        assert word in told


def fresh_refused(config: dict, workdir: Path, *words: str) -> None:
    """The same, of a folder that is new: it is left free for a right second try."""
    refused(config, workdir, *words)
    assert {p.name for p in workdir.glob("*")} <= {"run.lock"}


SETTINGS = {
    "data.encoder": ("vgg", "efficientnet_lite0_grid, eyes64, eyes64_objects"),
    "data.name": ("imagenet", "folder"),
    "data.path": ("", "--config.data.path"),
    "data.max_len": (0, "at least 1"),
    "data.min_count": (99, "min_count = 99"),
    "stages": (["gan2"], "choose from mle"),
    "decoding.method": ("mcmc", "greedy, beam, sample"),
    "decoding.max_len": (0, "at least 1"),
    "decoding.width": (0, "at least 1"),
    "cell": ("gru", "nic"),
    "dim": (0, "at least 1"),
    "dropout": (1.0, "below 1"),
    "seed": (-1, "from 0"),
    "mle.batch": (0, "at least 1"),
    "mle.epochs": (0.0, "above 0"),
    "mle.learning_rate": (-1e-3, "above 0"),
    "mle.schedule": ("linear", "cosine, constant"),
    "mle.label_smoothing": (1.0, "below 1"),
    "save_every": (0, "at least 1"),
    "log_every": (0, "at least 1"),
    "parallel": ("threads", "pmap, shard_map"),
    "init_from": ("/nowhere", "/nowhere"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_is_named_before_anything_is_made(name, recipe, tmp_path):
    value, words = SETTINGS[name]
    fresh_refused(recipe(**{name: value}), tmp_path / "run", words)


def test_a_batch_that_devices_cannot_share_is_refused(recipe, tmp_path):
    fresh_refused(recipe(**{"mle.batch": 6}), tmp_path / "run", "mle.batch=6", "4 devices")


@pytest.mark.parametrize("nan", [float("nan"), float("inf")])
def test_settings_that_are_no_numbers_are_refused(nan, recipe, tmp_path):
    fresh_refused(recipe(**{"mle.learning_rate": nan}), tmp_path / "run", "mle.learning_rate")


def break_photo(folder: Path) -> None:
    data = (folder / "18.png").read_bytes()
    (folder / "18.png").write_bytes(data[: len(data) // 2])


def lose_photo(folder: Path) -> None:
    (folder / "3.png").unlink()


def say_nothing(folder: Path) -> None:
    rows = json.loads((folder / "captions.json").read_text())
    rows["5.png"]["captions"][1] = " . "
    (folder / "captions.json").write_text(json.dumps(rows))


def lose_column(folder: Path) -> None:
    (folder / "captions.json").unlink()
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "text"], ["1.png", "a wall"]])


def lose_captions(folder: Path) -> None:
    (folder / "captions.json").unlink()


DATA = {
    break_photo: "18.png",
    lose_photo: "3.png",
    say_nothing: "5.png: caption 1 has no words",
    lose_column: 'no column "caption"',
    lose_captions: "captions.json or captions.csv",
}


@pytest.mark.parametrize("damage", DATA)
def test_bad_data_is_named_before_anything_is_made(damage, recipe, tmp_path):
    folder = paint_photos(tmp_path / "photos")
    damage(folder)
    config = recipe(**{"data.path": str(folder), "data.cache": str(tmp_path / "cache")})
    fresh_refused(config, tmp_path / "run", DATA[damage])


def test_a_workdir_that_is_no_folder_or_cannot_be_written_is_refused(recipe, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(recipe(), tmp_path / "file", str(tmp_path / "file"), "--workdir")
    refused(recipe(), tmp_path / "file" / "run", "--workdir")
    refused(recipe(), Path("/proc/run"), "/proc/run", "--workdir")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_is_not_gone_on_with_by_another(recipe, trained):
    before = {p: p.stat().st_mtime_ns for p in trained.rglob("*") if p.is_file()}
    refused(recipe(dim=32), trained, str(trained), "dim is 16 there and 32 here", "--workdir")
    refused(recipe(recipe="gan"), trained, "recipe is 'mle' there and 'gan' here")
    many = recipe(**{"dim": 32, "seed": 1, "cell": "x", "noise": 2, "mle.clip": 0.5})
    refused(many, trained, "(2 more differ)")
    assert {p: p.stat().st_mtime_ns for p in trained.rglob("*") if p.is_file()} == before


def test_a_run_is_not_gone_on_with_on_other_captions(recipe, trained, tmp_path):
    workdir, folder = tmp_path / "run", paint_photos(tmp_path / "photos")
    shutil.copytree(trained, workdir)
    captions = (folder / "captions.json").read_text()
    (folder / "captions.json").write_text(captions.replace("a blue wall", "a wall"))
    config = recipe(**{"data.path": str(folder), "data.cache": str(tmp_path / "cache")})
    refused(config, workdir, "captions of folder", str(workdir))


@pytest.mark.parametrize("text", ["{", "[]", '{"cell": "nic"}'])
def test_a_damaged_configuration_is_named(text, recipe, trained, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    (workdir / "config.json").write_text(text)
    refused(recipe(), workdir, f"{workdir}/config.json")
    told(capsys, evaluate.main([f"--workdir={workdir}"]), f"{workdir}/config.json")


def test_a_damaged_vocabulary_is_named_and_a_lost_one_made_again(recipe, trained, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    path = workdir / "vocabulary.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    refused(recipe(), workdir, str(path))
    told(capsys, caption.main([f"--workdir={workdir}", str(tmp_path)]), "holds no photo")
    told(capsys, evaluate.main([f"--workdir={workdir}"]), str(path))
    path.write_text(json.dumps({"words": json.loads(whole)["words"][::-1]}))
    refused(recipe(), workdir, str(path))
    path.unlink()
    train_here(recipe(), workdir)
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_a_run_that_starts_from_another_has_its_words_and_its_speaker(recipe, trained, tmp_path):
    fresh_refused(recipe(init_from=str(trained), dim=32), tmp_path / "wide", "dim", str(trained))
    fresh_refused(recipe(init_from=str(tmp_path)), tmp_path / "none", "config.json", str(tmp_path))
    other, workdir = tmp_path / "other", tmp_path / "run"
    shutil.copytree(trained, other)
    settings = {"mle.epochs": 0.25, "mle.learning_rate": 1e-9, "mle.average": 0.0}
    config = recipe(init_from=str(other), **settings)
    train_here(config, workdir)
    for name in ("vocabulary.json", "captions.json"):
        assert (workdir / name).read_bytes() == (other / name).read_bytes()
    shutil.rmtree(other)  # it has served its turn
    train_here(config, workdir)


def test_a_loss_that_is_no_number_ends_the_run_and_spoils_no_checkpoint(recipe, tmp_path):
    config = recipe(**{"mle.learning_rate": 1e30, "mle.warmup": 0, "mle.clip": 0.0})
    config |= {"save_every": 1, "log_every": 100, "validate_every": 100}
    refused(config, tmp_path / "run", "not finite at step", "lower config.mle.learning_rate")


def test_evaluate_prints_and_writes_the_scores(trained, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    for split, images in (("val", 4), ("train", 16)):
        assert evaluate.main([f"--workdir={workdir}", f"--split={split}", "--quick"]) == 0
        out = capsys.readouterr().out
        mark = "" if split == "val" else "-train"
        scores = json.loads((workdir / f"scores{mark}.json").read_text())
        assert scores["n_images"] == images
        assert f"{scores['cider_d']:.4f}" in out
        assert f"{scores['n-1 human']['cider_d']:.4f}" in out
        rows = json.loads((workdir / f"captions{mark}.json").read_text())
        assert len(rows) == images
    # What a run writes of its own validation split is what the command finds.
    mine, theirs = (json.loads((w / "scores.json").read_text()) for w in (workdir, trained))
    assert mine | {"run": "trained"} == theirs
    assert (workdir / "captions.json").read_bytes() == (trained / "captions.json").read_bytes()
    # More beams than there are words.
    command = [f"--workdir={workdir}", "--decoding=beam", "--width=99", "--quick"]
    assert evaluate.main(command) == 0


@pytest.mark.slow
def test_a_run_may_draw_several_captions_and_validate_on_one_image(recipe, tmp_path):
    """CIDEr-D cannot be had of one image; the best is then chosen by ROUGE-L."""
    folder = paint_photos(tmp_path / "photos")
    rows = json.loads((folder / "captions.json").read_text())
    for name in ("16.png", "17.png", "18.png"):
        rows[name]["split"] = "train"
    (folder / "captions.json").write_text(json.dumps(rows))
    changes = {"data.path": str(folder), "mle.epochs": 2.0, "validate_every": 4}
    config = recipe(**changes)
    config["decoding"] |= {"method": "sample", "samples": 3}
    scores = train_here(config, tmp_path / "run")
    assert scores["n_images"] == 1
    assert scores["n_samples"] == 3
    assert scores["cider_d"] is None
    assert "one image" in scores["unavailable"]["cider_d"]
    page = (tmp_path / "run" / "report.html").read_text()
    (row,) = json.loads((tmp_path / "run" / "captions.json").read_text())
    assert len(row["captions"]) == 3
    assert all(caption in page for caption in row["captions"])


def test_the_report_keeps_the_protocols_apart(trained):
    """What people's held-out captions reach stands under names of the n-1 protocol only."""
    page = (trained / "report.html").read_text()
    scores = json.loads((trained / "scores.json").read_text())
    both, held = page.split("n-1 protocol")
    assert "val, people" in held
    assert "val, people" not in both
    for name in ("cider_d", "rouge_l"):
        assert f"{scores['n-1 human'][name]:.3f}" in held.split(f"n-1 {name}")[1][:200]


@pytest.mark.slow
def test_evaluate_measures_several_captions_an_image(trained, tmp_path, capsys):
    run = [f"--workdir={trained}", f"--out={tmp_path}", "--quick"]
    assert evaluate.main([*run, "--samples=3", "--temperature=2", "--retrieval=4"]) == 0
    (scores,) = (json.loads(p.read_text()) for p in tmp_path.glob("scores*.json"))
    rows = json.loads(next(tmp_path.glob("captions*.json")).read_text())
    assert scores["n_samples"] == 3
    assert scores["decoding"]["temperature"] == 2
    # Quality is the mean over the captions, and the best of them bounds it.
    each = np.array([row["cider_d"] for row in rows])
    assert each.shape == (4, 3)
    assert scores["cider_d"] == pytest.approx(each.mean())
    assert scores["oracle_cider_d@3"] == pytest.approx(each.max(1).mean())
    assert scores["cider_d"] <= scores["oracle_cider_d@3"]
    different = [len(set(row["captions"])) / 3 for row in rows]
    assert [row["unique"] for row in rows] == pytest.approx(different)
    assert scores["unique"] == pytest.approx(np.mean(different))
    ranks = [row["self_retrieval_rank@4"] for row in rows]
    assert scores["self_retrieval_mean_rank@4"] == pytest.approx(np.mean(ranks))
    # The same seed draws the same captions, another seed has files of its own.
    assert evaluate.main([*run, "--samples=3", "--temperature=2", "--seed=1"]) == 0
    assert len(list(tmp_path.glob("scores*.json"))) == 2
    # Beams are captions of one image, too.
    assert evaluate.main([*run, "--decoding=beam", "--width=4", "--samples=4"]) == 0
    beams = json.loads(next(tmp_path.glob("scores*beam*.json")).read_text())
    assert beams["unique"] == 1


def test_measures_that_a_later_evaluation_drops_are_told(trained, tmp_path, capsys):
    run = [f"--workdir={trained}", "--quick", f"--out={tmp_path}"]
    for flags, lost in (
        (["--retrieval=4"], None),
        (["--retrieval=4"], None),
        ([], "self_retrieval_mean_rank@4"),
        ([], None),
    ):
        capsys.readouterr()
        assert evaluate.main([*run, *flags]) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if "capjax:" in line]
        assert len(said) == (1 if lost else 0)
        assert not lost or (f"{tmp_path}/scores.json is replaced" in said[0] and lost in said[0])
    # Of captions of a file, too.
    said, path = tmp_path / "said.json", tmp_path / "scores.json"
    said.write_text(json.dumps({"1": "a dog", "2": "a cat"}))
    files = [f"--{name}={said}" for name in ("predictions", "references")]
    path.unlink()
    assert evaluate.main([*files, "--quick", f"--out={tmp_path}"]) == 0
    scores = json.loads(path.read_text())
    path.write_text(json.dumps(scores | {"meteor": 0.5}))
    capsys.readouterr()
    assert evaluate.main([*files, "--quick", f"--out={tmp_path}"]) == 0
    assert "not asked for this time: meteor;" in capsys.readouterr().err


def test_measures_that_the_end_of_a_training_drops_are_told(recipe, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert evaluate.main([f"--workdir={run}", "--quick", "--retrieval=4"]) == 0
    capsys.readouterr()
    train_here(recipe(), run)  # its end once more
    assert f"{run}/scores.json is replaced" in capsys.readouterr().err
    train_here(recipe(), run)
    assert "is replaced" not in capsys.readouterr().err


def test_what_is_refused_is_before_images_are_encoded(trained, recipe, tmp_path, capsys):
    """Which may take hours."""
    cache = tmp_path / "cache"

    def nothing_encoded() -> None:
        assert not list(cache.rglob("*.npy*"))

    run = [f"--workdir={trained}", f"--cache={cache}"]
    (tmp_path / "file").touch()
    for flags, said in (
        (["--split=test"], "no split 'test'"),
        (["--decoding=beam", "--samples=9"], "no 9 captions"),
        (["--decoding=best_of"], "needs an evaluator"),
        (["--retrieval=5"], "among 5 images"),
        (["--distractors=4"], "from 1 to 3"),
        (["--distractors=1", "--twins"], "near twins"),
        (["--distractors=1", "--speaker=reasoning"], "--guide"),
        (["--justify"], "told no classes"),
        ([f"--listener={trained}", "--retrieval=2"], "no listener"),
        ([f"--out={tmp_path / 'file' / 'x'}"], "--out"),
    ):
        told(capsys, evaluate.main([*run, *flags]), said)
        nothing_encoded()
    begun = {"init_from": str(trained), "data.cache": str(cache)}
    for i, (setting, said) in enumerate(
        (
            ({"dim": 32}, "give both the same cell"),
            ({"cell": "att2in"}, "give both the same cell"),
            ({"data.encoder": "none"}, "encoder and vocabulary"),
            ({"init_from": "", "cell": "att2in", "data.encoder": "none"}, "cannot be made"),
            ({"decoding.method": "best_of"}, "needs an evaluator"),
        )
    ):
        fresh_refused(recipe(**begun | setting), tmp_path / f"run{i}", said)
        nothing_encoded()
    other = paint_photos(tmp_path / "photos")
    captions = (other / "captions.json").read_text()
    (other / "captions.json").write_text(captions.replace("a blue wall", "a wall"))
    shutil.copytree(trained, tmp_path / "mine")
    mine = recipe(**{"data.path": str(other), "data.cache": str(cache)})
    refused(mine, tmp_path / "mine", "captions", "trained on")
    nothing_encoded()
    assert evaluate.main([*run, "--quick", f"--out={tmp_path / 'out'}"]) == 0
    assert list(cache.rglob("*.npy"))


def test_evaluate_names_what_is_wrong(trained, tmp_path, capsys):
    run = f"--workdir={trained}"
    told(capsys, evaluate.main([run, "--split=test"]), "no split 'test'", "train, val")
    greedy = [run, "--decoding=greedy"]
    told(capsys, evaluate.main([*greedy, "--width=3"]), "--width=3", "needs --decoding=beam")
    told(capsys, evaluate.main([run, "--samples=9", "--decoding=beam"]), "no 9 captions")
    told(capsys, evaluate.main([run, "--temperature=0"]), "--temperature=0", "above 0")
    told(capsys, evaluate.main([run, "--retrieval=5"]), "among 5 images", "2 to 4")
    told(capsys, evaluate.main([run, "--quick", "--spice=require"]), "take one")
    told(capsys, evaluate.main([run, "--subset"]), "--subset", "--workdir")
    files = ["--predictions=said.jsonl", "--references=truth.json"]
    for flag in ("--samples=5", "--retrieval=10", "--top-p=0.5", "--seed=1"):
        told(capsys, evaluate.main([*files, flag]), flag.partition("=")[0], "--predictions")
    told(capsys, evaluate.main([run, "--decoding=beam", "--width=0"]), "--width=0")
    told(capsys, evaluate.main([f"--workdir={tmp_path / 'none'}"]), str(tmp_path / "none"))
    told(capsys, evaluate.main([f"--workdir={tmp_path}"]), "config.json")
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    best = next((workdir / "checkpoints" / "best").iterdir())
    files = sorted((p for p in best.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    files[-1].unlink()
    for other in (workdir / "checkpoints" / "best").iterdir():
        if other != best:
            shutil.rmtree(other)
    told(capsys, evaluate.main([f"--workdir={workdir}"]), "no checkpoint in", "can be read")
    assert best.is_dir()
    shutil.rmtree(workdir / "checkpoints")
    told(capsys, evaluate.main([f"--workdir={workdir}"]), "has no checkpoint yet")


@pytest.fixture
def album(tmp_path) -> Path:
    """Photos of many kinds."""
    folder = tmp_path / "album"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    for mode, kind in (("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("1", "png")):
        Image.fromarray(noise[..., :3]).convert(mode).save(folder / f"{mode}.{kind}")
    Image.fromarray(noise).save(folder / "RGBA.webp")
    Image.fromarray(np.full((3, 3000), 60_000, np.uint16)).save(folder / "wide.png")
    (folder / "notes.txt").write_text("not a photo")
    (folder / "more.jpg").mkdir()
    return folder


def test_caption_takes_any_photo(trained, album, capsys):
    run = f"--workdir={trained}"
    assert caption.main([run, str(album)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    spoken = dict(line.split("\t") for line in lines)
    for name in ("CMYK.jpg", "wide.png"):
        name, words = str(album / name), spoken[str(album / name)]
        # One photo and a folder of photos are captioned alike.
        assert caption.main([run, "--greedy", name]) == 0
        assert capsys.readouterr().out.splitlines() == [words]
    assert read_photo(album / "wide.png", 64).min() > 200


@pytest.mark.parametrize("how", [["--greedy"], ["--beam=3"], ["--samples=5", "--temperature=0.5"]])
def test_caption_tells_json_with_log_probabilities(how, trained, album, capsys):
    assert caption.main([f"--workdir={trained}", "--json", *how, str(album)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["photo"]).name for row in rows] == sorted(
        p.name for p in album.iterdir() if p.is_file() and p.suffix != ".txt"
    )
    for row in rows:
        assert len(row["captions"]) == (5 if "--samples=5" in how else 1)
        assert all(c["log_prob"] < 0 and isinstance(c["caption"], str) for c in row["captions"])


@pytest.mark.parametrize(
    "how",
    [
        *(["--beam=3"], ["--samples=5"]),
        *(pytest.param(how, marks=pytest.mark.slow) for how in (["--greedy"], [])),
    ],
)
def test_caption_tells_photos_from_a_distractor(how, trained, photos, capsys):
    """At rationality 1 it says what it says anyway; at 0, what the distractor's caption is not."""
    run, red, blue = f"--workdir={trained}", str(photos / "0.png"), str(photos / "3.png")

    def said(*flags: str) -> list[dict]:
        assert caption.main([run, "--json", *how, *flags, red]) == 0
        told = capsys.readouterr()
        assert not told.err
        (line,) = told.out.splitlines()
        return json.loads(line)["captions"]

    held = said("--distractor", blue, blue, "--rationality=0")
    assert len(held) == (5 if how == ["--samples=5"] else 1)
    if how != ["--samples=5"]:  # draws say anything now and then
        assert not any("blue" in row["caption"] for row in held)
    assert all(-50 < row["log_prob"] < 0 for row in held)
    if how != ["--samples=5"] and how:
        plain = said()
        (same,) = said("--distractor", blue, "--rationality=1")
        assert same["caption"] == plain[0]["caption"]
        np.testing.assert_allclose(same["log_prob"], plain[0]["log_prob"], rtol=1e-4)


def test_caption_says_where_a_distractor_is_of_no_use(trained, photos, capsys):
    run, red = f"--workdir={trained}", str(photos / "0.png")
    assert caption.main([run, "--beam=3", red, "--distractor", str(photos / "1.png")]) == 0
    told_ = capsys.readouterr()
    assert "shows the same as" in told_.err
    assert caption.main([run, "--beam=3", red]) == 0
    assert capsys.readouterr().out == told_.out  # the score is half the plain one: the same order
    told(capsys, caption.main([run, red, "--distractor=x.png"]), "x.png")
    told(capsys, caption.main([run, red, "--rationality=0.5"]), "--distractor")
    both = ["--distractor", str(photos / "3.png"), "--rationality=1.5"]
    told(capsys, caption.main([run, red, *both]), "--rationality=1.5", "from 0 to 1")


def test_caption_names_what_is_wrong(trained, tmp_path, capsys):
    run, photo, text = f"--workdir={trained}", tmp_path / "a.png", tmp_path / "text.jpg"
    Image.new("RGB", (8, 8)).save(photo)
    text.write_text("this is no photo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.jpg").touch()
    for name in ("missing.jpg", "text.jpg", "empty", "nothing.jpg"):
        told(capsys, caption.main([run, str(photo), str(tmp_path / name)]), str(tmp_path / name))
    for flag in ("--samples=0", "--beam=0", "--samples=-1"):
        told(capsys, caption.main([run, flag, str(photo)]), flag)
    for flag in ("--temperature=0", "--temperature=nan", "--top-p=0", "--top-p=1.5"):
        name = flag.partition("=")[0]
        told(capsys, caption.main([run, "--samples=2", flag, str(photo)]), name)
    told(
        capsys, caption.main([run, "--greedy", "--top-p=0.5", str(photo)]), "--top-p=0.5", "greedy"
    )
    for how, flag in ((["--greedy"], "--temperature=0.3"), (["--beam=2"], "--top-p=0.9")):
        status, said = caption.main([run, *how, flag, str(photo)]), capsys.readouterr().err
        assert status == 2
        assert said.count("\n") == 1
        assert flag in said
        assert "--samples=N" in said
        assert "--decoding" not in said  # which this command has not
    told(capsys, caption.main([f"--workdir={tmp_path}", str(photo)]), "config.json")


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)


def test_the_command_itself_tells_one_line_and_a_status(tmp_path, caches):
    recipe = Path(__file__).parents[1] / "configs" / "mle.py"
    ended = command("capjax.train", f"--config={recipe}:imagenet", f"--workdir={tmp_path / 'run'}")
    assert ended.returncode == 2
    assert [x.startswith("capjax: there is no dataset") for x in ended.stderr.splitlines()] == [1]
    ended = command("capjax.train", f"--config={recipe}", "--config.dmi=3")
    assert ended.returncode == 2
    assert ended.stderr.startswith("capjax: the recipe has no setting 'dmi'")
    assert ended.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def rare(recipe, tmp_path_factory) -> Path:
    """A run to which all words but one are rare, so that it says <unk> all the time."""
    workdir = tmp_path_factory.mktemp("runs") / "rare"
    train_here(recipe(**{"data.min_count": 25, "mle.epochs": 5.0}), workdir)
    return workdir


def test_what_people_read_has_no_unknown_words(rare, photos, tmp_path, capsys):
    """It is scored as it is read; a run that is older than the setting is scored as it was."""
    rows = json.loads((rare / "captions.json").read_text())
    scores = json.loads((rare / "scores.json").read_text())
    assert scores["decoding"]["forbid_unknown"] is True
    assert {row["caption"] for row in rows}
    assert not any("<unk>" in row["caption"] for row in rows)
    evaluation = [f"--workdir={rare}", "--quick", f"--out={tmp_path / 'rare'}"]
    assert evaluate.main(evaluation) == 0
    assert evaluate.main([*evaluation, "--allow-unknown"]) == 0
    mark = "-val-greedy-forbid_unknownFalse"
    rows = json.loads((tmp_path / "rare" / f"captions{mark}.json").read_text())
    assert all("<unk>" in row["caption"] for row in rows)
    assert evaluate.main([*evaluation, "--allow-unknown", "--block-trigrams"]) == 0
    mark = f"{mark}-block_trigramsTrue"
    blocked = json.loads((tmp_path / "rare" / f"captions{mark}.json").read_text())
    assert any(row["caption"].count("<unk>") > 3 for row in rows)
    assert all(row["caption"].count("<unk>") <= 3 for row in blocked)
    capsys.readouterr()
    assert compare.main([str(tmp_path / "rare"), f"--out={tmp_path}"]) == 0
    # The text that is printed is cut to the terminal's width.
    table = (tmp_path / "table.csv").read_text()
    assert "greedy, with <unk>" in table
    assert "greedy, without <unk>" in table
    assert "greedy no trigram twice, with <unk>" in table

    old, photo = tmp_path / "old", str(photos / "0.png")
    shutil.copytree(rare, old)
    config = json.loads((old / "config.json").read_text())
    del config["decoding"]["forbid_unknown"]
    (old / "config.json").write_text(json.dumps(config))
    assert evaluate.main([f"--workdir={old}", "--quick"]) == 0
    rows = json.loads((old / "captions.json").read_text())
    assert all("<unk>" in row["caption"] for row in rows)
    capsys.readouterr()
    for flags, said in ([], False), (["--allow-unknown"], True):
        assert caption.main([f"--workdir={old}", *flags, photo]) == 0
        assert ("<unk>" in capsys.readouterr().out) == said
    assert caption.main([f"--workdir={old}", "--allow-unknown", "--block-trigrams", photo]) == 0
    assert capsys.readouterr().out.count("<unk>") == 3
    files = [f"--{name}={rare / 'captions.json'}" for name in ("predictions", "references")]
    for flag in "--allow-unknown", "--block-trigrams", "--no-block-trigrams":
        told(capsys, evaluate.main([*files, flag]), flag, "--predictions")


def test_captions_to_read_are_drawn_at_a_temperature_of_their_own(
    trained, photos, tmp_path, capsys
):
    def said(run: Path, *flags: str) -> str:
        assert caption.main([f"--workdir={run}", "--samples=5", *flags, str(photos)]) == 0
        return capsys.readouterr().out

    assert said(trained) == said(trained, f"--temperature={caption.TEMPERATURE}")
    assert said(trained) != said(trained, "--temperature=1")
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    config["decoding"] |= {"method": "best_of", "temperature": 2.0}
    (run / "config.json").write_text(json.dumps(config))
    assert said(run) == said(trained, "--temperature=2")


@pytest.mark.slow
def test_captions_that_are_told_a_top_p_have_that_temperature_too(
    trained, photos, tmp_path, capsys
):
    def drawn(run: Path, *flags: str) -> str:
        assert caption.main([f"--workdir={run}", "--json", *flags, str(photos)]) == 0
        return capsys.readouterr().out

    own = f"--temperature={caption.TEMPERATURE}"
    assert drawn(trained, "--top-p=0.9") == drawn(trained, "--top-p=0.9", own)
    assert drawn(trained, "--top-p=0.9") != drawn(trained, "--top-p=0.9", "--temperature=1")
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    config["decoding"] = {"method": "sample", "max_len": 5, "forbid_unknown": True}
    (run / "config.json").write_text(json.dumps(config))
    assert drawn(run) == drawn(trained, "--samples=1")
    config["decoding"] |= {"temperature": 2.0}
    (run / "config.json").write_text(json.dumps(config))
    assert drawn(run, "--top-p=0.9") == drawn(trained, "--top-p=0.9", "--temperature=2")


def test_a_recipe_that_lacks_a_setting_is_told_which(recipe, tmp_path):
    listener = recipe(stages=["listener"])
    fresh_refused(listener, tmp_path / "run", "'listener'", "no settings config.listener")
    for name in ("stages", "parallel"):
        config = {key: value for key, value in recipe().items() if key != name}
        fresh_refused(config, tmp_path / "run", f"no setting config.{name}")


RECIPES = {
    "x = 1": "has no get_config()",
    "def get_config(): return {}": "must return a ConfigDict",
    "raise KeyError('x')": "cannot be loaded: KeyError: 'x'",
}


@pytest.mark.parametrize(
    "text",
    [
        text if text.startswith("raise") else pytest.param(text, marks=pytest.mark.slow)
        for text in RECIPES
    ],
)
def test_a_file_that_is_no_recipe_is_told_in_one_line(text, tmp_path):
    (tmp_path / "recipe.py").write_text(text)
    ended = command("capjax.train", f"--config={tmp_path / 'recipe.py'}")
    assert ended.returncode == 2
    assert RECIPES[text] in ended.stderr
    assert ended.stderr.count("\n") == 1
