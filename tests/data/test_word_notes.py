"""It is said where the benchmarks' tokenizer does not suit a language, and not elsewhere."""

import json
import shutil

import numpy as np
import pytest

from capjax import evaluate
from capjax.data import tokenize
from capjax.data.word_notes import word_notes
from capjax.errors import InputError
from capjax.evaluation import measure
from capjax.metrics import score_captions
from capjax.metrics.ptb import java_words
from capjax.training.run import train

CHINESE = [
    "一个男人骑着马。",
    "两只狗在草地上奔跑，孩子在笑！",  # noqa: RUF001
    "一个女孩在水里玩耍",
    "一只黑狗在海滩上",
]
TOGETHER = [
    CHINESE,
    ["男が馬に乗っている。", "二匹の犬が、草の上を走る", "カメラを持った女性が立っている"],
    ["ผู้ชายคนหนึ่งขี่ม้า", "สุนัขสองตัววิ่งในทุ่งหญ้า", "เด็กผู้หญิงเล่นน้ำ ที่ชายหาด"],
    ["ຜູ້ຊາຍຄົນໜຶ່ງຂີ່ມ້າ", "ໝາສອງໂຕແລ່ນຢູ່ໃນຫຍ້າ"],
    ["a_man_riding_a_horse", "two_dogs_run_on_grass"],
]
APART = [
    ["一 个 男人 骑 着 马 。", "两 只 狗 在 草地 上 奔跑 ， 孩子 在 笑 ！", "自行车"],  # noqa: RUF001
    ["男 が 馬 に 乗っ て いる 。", "二 匹 の 犬 が コンピューター を 見る"],
    ["ผู้ชาย คนหนึ่ง ขี่ม้า", "สุนัข สอง ตัว วิ่ง ใน ทุ่งหญ้า"],
    ["एक आदमी घोड़े पर सवार है।", "दो कुत्ते घास में दौड़ रहे हैं"],
    ["남자가 말을 타고 있다.", "두 마리의 개가 풀밭에서 달린다"],
    ["dog", "Feuerwehrauto", "a man on a horse", "an internationalization"],
    ["Straßenbahnhaltestelle an der Donaudampfschifffahrtsgesellschaft", "a dog"],
    ["செய்கிறான் ஓடுகின்றன", "పరుగెత్తుతున్నాయి గడ్డిలో"],
    ["", "...", "。"],
    [],
]


def noted(texts):
    return word_notes((text, tokenize(text)) for text in texts)


@pytest.mark.parametrize("texts", TOGETHER)
def test_words_that_run_together_are_told(texts):
    (note,) = noted(texts)
    assert f"{len(texts)} of {len(texts)} texts" in note
    assert "\n" not in note


@pytest.mark.parametrize("texts", APART)
def test_words_that_spaces_part_are_not(texts):
    assert noted(texts) == []


def test_it_takes_more_than_half_of_the_texts():
    assert noted([CHINESE[0], "a dog"]) == []
    assert len(noted([CHINESE[0], CHINESE[1], "a dog"])) == 1


def test_characters_that_are_left_out_are_told():
    (note,) = noted(["ಒಬ್ಬ ಮನುಷ್ಯ", "ಕುದುರೆ", "a dog"])
    assert note.startswith("2 of 3 texts")
    assert "U+0CCD" in note
    (note,) = noted(["a dog \U0001f436"])
    assert "U+1F436" in note
    # What only shapes or parts its neighbours is no loss, nor is punctuation.
    assert noted(["a\u200bb c\ufeff ri\u00adde \u2764\ufe0f", "አንድ ሰው።"]) == []


@pytest.mark.parametrize("path", [None, ""])
def test_notes_stand_beside_the_scores_by_either_tokenizer(path, monkeypatch):
    if path is None and shutil.which("java") is None:
        pytest.skip("needs java")
    if path is not None:
        monkeypatch.setenv("PATH", path)
    texts = {i: [text] for i, text in enumerate(CHINESE)}
    scores = score_captions(texts, texts, metrics=["bleu"])
    assert scores["tokenizer"] == ("ptb (java)" if path is None else "capjax (python)")
    assert [note[:24] for note in scores["notes"]] == ["Words are parted at spac"]
    english = {i: [text] for i, text in enumerate(("a dog", "a cat"))}
    assert "notes" not in score_captions(english, english, metrics=["bleu"])


@pytest.mark.parametrize("path", [None, ""])
def test_lengths_and_novelty_count_the_words_that_the_scores_count(path, monkeypatch):
    """On texts that the two tokenizers split differently."""
    said = ["a church/clock-tower of stone", "a sign with a x`y on it", "a man's dog isn't here"]
    ours = [" ".join(tokenize(text)) for text in said]
    words = ours
    if path is None:
        if shutil.which("java") is None:
            pytest.skip("needs java")
        words = java_words(said)
        assert words != ours
    else:
        monkeypatch.setenv("PATH", path)
    captions = {i: [text] for i, text in enumerate(said)}
    known = {said[0].upper(), said[2] + " now"}
    scores = measure(captions, captions, metrics=["bleu"], known=known).scores
    assert scores["mean_length"] == np.mean([len(row.split()) for row in words])
    assert scores["distinct_words"] == len({word for row in words for word in row.split()})
    assert scores["novel"] == 2 / 3


def test_evaluate_prints_and_keeps_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "said.json").write_text(json.dumps(dict(enumerate(CHINESE))))
    (tmp_path / "truth.json").write_text(json.dumps({i: [t] for i, t in enumerate(CHINESE)}))
    flags = [f"--predictions={tmp_path}/said.json", f"--references={tmp_path}/truth.json"]
    assert evaluate.main([*flags, f"--out={tmp_path}/out"]) == 0
    told = capsys.readouterr().out
    (note,) = json.loads((tmp_path / "out/scores.json").read_text())["notes"]
    assert note.startswith("Words are parted at spaces")
    assert note in told


def test_training_says_it_before_it_begins(photos, recipe, tmp_path, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    found = json.loads((folder / "captions.json").read_text())
    (folder / "captions.json").write_text(
        json.dumps({name: [f"{CHINESE[2]}{n}"] for n, name in enumerate(found)})
    )
    changes = {"data.path": str(folder), "data.min_count": 5, "data.cache": str(tmp_path / "cache")}
    with pytest.raises(InputError, match="min_count"):
        train(recipe(**changes), tmp_path / "run")
    assert "capjax: Words are parted at spaces, and 20 of 20 texts" in capsys.readouterr().err
