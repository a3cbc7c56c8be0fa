"""Is a run evaluated and gone on with on its own data, wherever it is asked from?"""

import json
import shutil
from pathlib import Path

import pytest
from small_runs import paint_photos, train_here

from capjax import compare, evaluate
from capjax.errors import InputError
from capjax.run.folder import check_claim
from capjax.run.recipe import with_places


@pytest.fixture
def homes(recipe, trained, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Two folders with data of one name, of which a run in the first knows its own."""
    for name in ("home", "away"):
        paint_photos(tmp_path / name / "photos")
    captions = tmp_path / "away" / "photos" / "captions.json"
    rows = json.loads(captions.read_text())
    for row in rows.values():
        if row["split"] == "val":
            row["captions"] = ["a green door", "the door is green"]
    captions.write_text(json.dumps(rows))
    shutil.copytree(trained, tmp_path / "home" / "run")
    monkeypatch.chdir(tmp_path / "home")
    train_here(recipe(**{"data.path": "photos"}), Path("run"))  # its end once more
    return tmp_path / "home", tmp_path / "away"


def older(run: Path, **settings) -> None:
    """A run as it was before it knew its data: by a relative path, and by nothing else."""
    (run / "data.json").unlink()
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"path": "photos"} | settings
    (run / "config.json").write_text(json.dumps(config))


def evaluated(run: Path, *flags: str) -> int:
    return evaluate.main([f"--workdir={run}", "--quick", *flags])


def test_a_run_finds_its_data_from_any_folder(homes, trained, monkeypatch):
    home, away = homes
    monkeypatch.chdir(away)
    assert evaluated(home / "run") == 0
    for name in ("captions.json", "scores.json"):
        mine, theirs = ((run / name).read_text() for run in (home / "run", trained))
        assert mine.replace('"run": "run"', '"run": "trained"') == theirs


def test_other_data_in_their_place_are_refused_and_change_nothing(homes, capsys):
    home, away = homes
    before = {path: path.read_bytes() for path in (home / "run").glob("*.json")}
    shutil.copy(away / "photos" / "captions.json", home / "photos")
    capsys.readouterr()
    assert evaluated(home / "run") == 2
    told = capsys.readouterr().err
    assert "the captions of folder" in told
    assert "--path" in told
    assert {path: path.read_bytes() for path in (home / "run").glob("*.json")} == before


def test_other_data_asked_for_have_files_and_tables_of_their_own(homes, tmp_path, capsys):
    home, away = homes
    before = {path: path.read_bytes() for path in (home / "run").glob("*.json")}
    assert evaluated(home / "run", f"--path={away / 'photos'}") == 0
    assert {path: path.read_bytes() for path in before} == before
    (new,) = set((home / "run").glob("scores*.json")) - set(before)
    scores = json.loads(new.read_text())
    assert scores["data"] == {"path": str(away / "photos"), "differ": ["val captions"]}
    capsys.readouterr()
    assert compare.main([str(home / "run"), f"--out={tmp_path / 'out'}"]) == 0
    out, errors = capsys.readouterr()
    assert out.count("folder val, references: all 2") == 2
    assert "scored on other data than the run's" in errors


def test_data_that_have_moved_are_the_same(homes, capsys):
    home, _ = homes
    (home / "photos").rename(home / "moved")
    before = (home / "run" / "scores.json").read_bytes()
    assert evaluated(home / "run") == 2
    assert "give the folder that they are in with --path=DIR" in capsys.readouterr().err
    assert evaluated(home / "run", f"--path={home / 'moved'}") == 0
    assert (home / "run" / "scores.json").read_bytes() == before
    assert len(list((home / "run").glob("scores*.json"))) == 1


def test_a_run_goes_on_with_its_own_data_only(homes, recipe, monkeypatch):
    home, away = homes
    monkeypatch.chdir(away)
    with pytest.raises(
        InputError, match=r"the captions of folder in .*away/photos \(val captions\)"
    ):
        train_here(recipe(**{"data.path": "photos"}), home / "run")
    train_here(recipe(**{"data.path": str(home / "photos")}), home / "run")


def test_a_run_of_old_is_known_by_its_captions_and_learns_its_place(homes, recipe, monkeypatch):
    home, away = homes
    older(home / "run")
    monkeypatch.chdir(away)
    assert evaluated(home / "run") == 2
    with pytest.raises(InputError, match=r"\(val captions\)"):
        train_here(recipe(**{"data.path": "photos"}), home / "run")
    assert not (home / "run" / "data.json").exists()
    monkeypatch.chdir(home)
    assert evaluated(Path("run")) == 0
    train_here(recipe(**{"data.path": "photos"}), Path("run"))
    assert json.loads((home / "run" / "data.json").read_text())["path"] == str(home / "photos")
    monkeypatch.chdir(away)
    assert evaluated(home / "run") == 0


def test_folders_of_old_settings_are_those_that_are_named_from_there(recipe, homes, monkeypatch):
    home, _ = homes
    path = home / "run" / "config.json"
    config = json.loads(path.read_text())
    config["data"]["encoder"], config["init_from"] = "files:there/boxes", "../runs/first"
    path.write_text(json.dumps(config))
    same = {"data.encoder": "files:there/boxes", "init_from": "../runs/first"}
    assert check_claim(home / "run", with_places(recipe(**same)))
    for other in ({"init_from": "../runs/second"}, {"data.encoder": "files:here/boxes"}):
        with pytest.raises(InputError, match="belongs to another run"):
            check_claim(home / "run", with_places(recipe(**same | other)))


def test_captions_of_a_file_take_no_other_evaluations_place(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("said.json").write_text(json.dumps({"1": "a dog", "2": "a cat"}))
    for name, dog in (("one", "a dog"), ("two", "a brown dog")):
        Path(f"{name}.json").write_text(json.dumps({"1": [dog, "it runs"], "2": ["a cat", "so"]}))
    ask = ["--predictions=said.json", "--quick"]
    assert evaluate.main([*ask, "--references=one.json"]) == 0
    first = Path("evaluation-said/scores.json").read_bytes()
    assert evaluate.main([*ask, "--references=two.json"]) == 0
    assert "is kept" in capsys.readouterr().err
    assert Path("evaluation-said/scores.json").read_bytes() == first
    for name in ("one", "two"):  # the same once more: the same files
        assert evaluate.main([*ask, f"--references={name}.json"]) == 0
    assert len(list(Path("evaluation-said").glob("scores*.json"))) == 2
    assert Path("evaluation-said/scores.json").read_bytes() == first


@pytest.mark.parametrize("told", [True, False], ids=["allowed", "older than the setting"])
def test_a_run_of_before_unk_was_forbidden_goes_on_with_what_it_did(
    told, recipe, trained, photos, tmp_path, capsys
):
    """By the same command, and as often as it likes."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    config["decoding"]["forbid_unknown"] = False
    older = json.loads(json.dumps(config))
    if not told:
        del older["decoding"]["forbid_unknown"]
    (run / "config.json").write_text(json.dumps(older))
    for _ in range(2):
        capsys.readouterr()
        train_here(recipe(**{"data.path": str(photos)}), run)
        assert "config.decoding.forbid_unknown=False and goes on so" in capsys.readouterr().err
        assert json.loads((run / "config.json").read_text()) == config
