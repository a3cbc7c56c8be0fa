"""Captions come out as they were written, each with its own image, and bad files are told of."""

import csv
import functools
import http.server
import json
import os
import shutil
import threading
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capjax.data import coco, load
from capjax.data.annotations import read_captions_csv, read_captions_json, read_karpathy
from capjax.data.caption_files import check_images
from capjax.data.photo_places import place
from capjax.data.split_by_name import split_by_name
from capjax.errors import InputError

FLICKR8K = Path(
    os.environ.get("CAPJAX_FLICKR8K", Path(__file__).parents[3] / "shared/data/flickr8k")
)


def paint(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10), (shade, 0, 0)).save(path)


def karpathy(*images: tuple, **more) -> dict:
    """images: (filename, split, [caption, ...])"""
    return {
        "images": [
            {
                "filename": file,
                "split": split,
                "imgid": i,
                "sentences": [{"raw": text, "tokens": text.split()} for text in captions],
                **more,
            }
            for i, (file, split, captions) in enumerate(images)
        ]
    }


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's folder with six images."""
    folder = tmp_path / "mine"
    for i in range(6):
        paint(folder / f"{i}.png", 40 * i)
    return folder


def told(call, *words: object) -> None:
    """The call raises an InputError of one line that holds the words."""
    with pytest.raises(InputError) as error:
        call()
    for word in words:
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)


def test_karpathy_files_give_each_image_its_captions(tmp_path):
    folder = tmp_path / "flickr8k"
    for shade, file in enumerate(["z.png", "a.png", "m.png"]):
        paint(folder / "Flicker8k_Dataset" / file, 100 * shade)
    captions = [" A dog , running .", "caf\u00e9 \u201cb\u201d"]
    found = karpathy(
        ("z.png", "train", captions), ("a.png", "val", ["b"]), ("m.png", "train", ["c"])
    )
    found["images"][1]["sentences"] = [{"tokens": ["two", "cats"]}]
    (folder / "dataset_flickr8k.json").write_text(json.dumps(found))

    first = load("flickr8k", folder, tmp_path / "cache")
    assert set(first.splits) == {"train", "val"}
    assert first.splits["train"].ids == ("0", "2")
    assert first.splits["train"].captions == (tuple(captions), ("c",))
    assert first.splits["val"].captions == (("two cats",),)
    for split, shades in (("train", [0, 200]), ("val", [100])):
        for i, shade in enumerate(shades):
            image = first.splits[split].image(i)
            assert image.dtype == np.uint8
            assert image.shape == (224, 224, 3)
            assert np.all(image == [shade, 0, 0])
        check_images(first.splits[split], progress=False)

    # Read back from the cache, and through the file's own path, it is the same.
    again = load("flickr8k", folder / "dataset_flickr8k.json", tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    assert again.splits["train"].captions == first.splits["train"].captions

    # Images and captions that change change the name of what is cached of them.
    paint(folder / "Flicker8k_Dataset" / "m.png", 7)
    os.utime(folder / "Flicker8k_Dataset" / "m.png", (1, 1))
    other = load("flickr8k", folder, tmp_path / "cache")
    assert other.fingerprint != first.fingerprint

    # Images that have moved are found again; images that are gone are told of.
    (folder / "Flicker8k_Dataset").rename(folder / "images")
    assert load("flickr8k", folder, tmp_path / "cache").splits["val"].image(0)[0, 0, 0] == 100
    (folder / "images" / "a.png").unlink()
    told(lambda: load("flickr8k", folder, tmp_path / "cache"), "1 images of 3", "first is a.png")


def test_a_users_folder(mine, tmp_path, capsys):
    captions = {f"{i}.png": [f"picture {i}", "a, b"] for i in range(5)}
    (mine / "captions.json").write_text(json.dumps(captions))
    data = load("folder", mine, tmp_path / "cache")
    assert "1 images in" in capsys.readouterr().err  # 5.png is not left out in silence
    seen = {
        id_: split.captions[i] for split in data.splits.values() for i, id_ in enumerate(split.ids)
    }
    assert seen == {file: tuple(texts) for file, texts in captions.items()}
    assert min(len(split.ids) for split in data.splits.values()) > 0
    assert {"train", "val"} <= set(data.splits)

    captions["0.png"].append("one more")
    (mine / "captions.json").write_text(json.dumps(captions))
    changed = load("folder", mine, tmp_path / "cache")
    assert changed.fingerprint != data.fingerprint
    assert sum(len(c) for s in changed.splits.values() for c in s.captions) == 11


def test_a_table_of_captions_is_what_the_same_json_is(tmp_path):
    rows = [("b.png", 'says "hi", then goes', "val"), ("a.png", "two\nlines", "train")]
    rows += [("b.png", "caf\u00e9", "val"), ("c d.png", "x", "test")]
    for encoding in ("utf-8", "utf-8-sig"):
        with (tmp_path / "captions.csv").open("w", newline="", encoding=encoding) as file:
            csv.writer(file).writerows([("image", "caption", "split"), *rows])
        (tmp_path / "captions.json").write_text(
            json.dumps(
                {
                    "b.png": {"captions": ['says "hi", then goes', "caf\u00e9"], "split": "val"},
                    "a.png": {"captions": ["two\nlines"], "split": "train"},
                    "c d.png": {"captions": ["x"], "split": "test"},
                }
            )
        )
        table = read_captions_csv(tmp_path / "captions.csv")
        assert table == read_captions_json(tmp_path / "captions.json")
        assert [photo.split for photo in table] == ["val", "train", "test"]


def test_spaces_around_a_columns_name_are_not_part_of_it(tmp_path):
    (tmp_path / "captions.csv").write_text(" image , caption,split \na.png, x,val\nb.png,y,train\n")
    table = read_captions_csv(tmp_path / "captions.csv")
    assert [(p.file, p.captions, p.split) for p in table] == [
        ("a.png", (" x",), "val"),
        ("b.png", ("y",), "train"),
    ]


@pytest.mark.parametrize("count", [2, 3, 10, 100, 10_000])
def test_names_alone_decide_the_split(count):
    names = [f"photo {i}.jpg" for i in range(count)]
    splits = split_by_name(names, Path("x"))
    assert split_by_name(reversed(names), Path("y")) == splits
    said = list(splits.values())
    assert said.count("train") >= 1
    assert said.count("val") >= 1
    if count == 10_000:
        assert abs(said.count("train") - 9000) < 150
        assert abs(said.count("val") - 500) < 100
        fewer = split_by_name(names[: count // 2], Path("x"))
        assert all(splits[name] == split for name, split in fewer.items())


def test_two_names_that_fall_on_one_side_are_parted():
    for tens in range(0, 3000, 2):  # some pairs fall on val and test, some on val and val
        said = split_by_name([str(tens), str(tens + 1)], Path("x")).values()
        assert set(said) == {"train", "val"}


def test_coco_joins_restval_to_train_or_says_that_it_does_not(tmp_path, capsys):
    path = tmp_path / "dataset_coco.json"
    found = karpathy(
        ("1.jpg", "train", ["a"]), ("2.jpg", "restval", ["b"]), ("3.jpg", "val", ["c"])
    )
    for i, image in enumerate(found["images"]):
        image |= {"filepath": "val2014", "cocoid": 100 + i}
    path.write_text(json.dumps(found))
    photos = read_karpathy(path)
    assert [(p.id, p.file, p.split) for p in photos] == [
        ("100", "val2014/1.jpg", "train"),
        ("101", "val2014/2.jpg", "train"),
        ("102", "val2014/3.jpg", "val"),
    ]
    assert [p.id for p in read_karpathy(path, restval=False)] == ["100", "102"]
    assert "1 images of split restval" in capsys.readouterr().err
    for i in range(1, 4):  # loose in one folder, without val2014/
        paint(tmp_path / "images" / f"{i}.jpg")
    placed = place(photos, [tmp_path, tmp_path / "images"], path, flat=True)
    assert [p.file for p in placed] == [str(tmp_path / f"images/{i}.jpg") for i in (1, 2, 3)]


def official_zips(folder: Path) -> None:
    """Small zips with the names and the layout of cocodataset.org's."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "annotations_trainval2014.zip", "w") as notes:
        for year, ids in (("train2014", range(3)), ("val2014", range(10, 16))):
            images = [{"id": i, "file_name": f"COCO_{year}_{i:012d}.png"} for i in ids]
            captions = [{"image_id": i, "id": i, "caption": f"number {i}"} for i in ids]
            notes.writestr(
                f"annotations/captions_{year}.json",
                json.dumps({"images": images, "annotations": captions}),
            )
            with zipfile.ZipFile(folder / f"{year}.zip", "w") as photos:
                for image in images:
                    paint(folder / "one.png", image["id"])
                    photos.write(folder / "one.png", f"{year}/{image['file_name']}")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_coco_is_downloaded_unpacked_and_split(tmp_path, monkeypatch):
    official_zips(tmp_path / "server" / "zips")
    (tmp_path / "server" / "annotations").mkdir()
    notes = "annotations_trainval2014.zip"
    (tmp_path / "server/zips" / notes).rename(tmp_path / "server/annotations" / notes)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(tmp_path / "server"))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(coco, "SERVER", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(coco, "_ROOM", 0)
    try:
        data = load("coco", cache=tmp_path / "cache")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert {split: len(found.ids) for split, found in data.splits.items()} == {
        "train": 5,
        "val": 2,
        "test": 2,
    }
    for split in data.splits.values():
        for i, name in enumerate(split.ids):
            assert split.captions[i] == (f"number {name}",)
            assert split.image(i)[0, 0, 0] == int(name)
    # The unpacked folder given by hand is the same data; nothing is asked of the network.
    for path in (None, tmp_path / "cache/downloads/coco"):
        again = load("coco", path, tmp_path / "cache")
        assert again.fingerprint == data.fingerprint
        assert again.splits["val"].ids == data.splits["val"].ids


def test_without_a_network_coco_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "SERVER", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "cache/downloads/coco"
    names = ["annotations_trainval2014.zip", "train2014.zip", "val2014.zip"]
    monkeypatch.setattr(coco, "_ROOM", 0)
    told(lambda: load("coco", cache=tmp_path / "cache"), folder, *names, "--config.data.path")
    monkeypatch.setattr(coco, "_ROOM", 1e18)
    told(lambda: load("coco", cache=tmp_path / "cache"), folder, "make room")


def test_a_damaged_zip_is_named_and_leaves_nothing_half_unpacked(tmp_path):
    folder = tmp_path / "coco"
    official_zips(folder)
    whole = (folder / "train2014.zip").read_bytes()
    (folder / "train2014.zip").write_bytes(whole[: len(whole) // 2])
    told(lambda: coco.fetch(folder, str), folder / "train2014.zip")
    assert not (folder / "train2014").exists()
    (folder / "train2014.zip").write_bytes(whole)
    coco.fetch(folder, str)
    assert len(list((folder / "train2014").iterdir())) == 3


GOOD = {f"{i}.png": ["a b"] for i in range(3)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"0.png": ["a"]\n"1.png": ["b"]}', ["line 3"]),
        ("[1]", ["must hold one object"]),
        (b'{"0.png": ["\xff"]}', ["UTF-8"]),
        ("[" * 100_000, ["captions.json"]),
        ('{"0.png": ["a"], "0.png": ["b"]}', ['"0.png" twice']),
        ({"0.png": "a"}, ["0.png", "no list of captions"]),
        ({"0.png": [1]}, ["0.png", "not text"]),
        ({"0.png": []}, ["0.png", "no captions"]),
        ({**GOOD, "1.png": ["a", " \t"]}, ["1.png", "caption 1 has no words"]),
        ({**GOOD, "1.png": ["..."]}, ["1.png", "no words"]),
        ({**GOOD, "1.png": ["a \ud83d"]}, ["1.png", "surrogate"]),
        ({**GOOD, "\ud83d.png": ["a"]}, [".png", "surrogate"]),
        ({**GOOD, "": ["a"]}, ['""']),
        ({"0.png": ["a"]}, ["two are needed"]),
        ({}, ["two are needed"]),
        ({**GOOD, "x.png": ["a"], "y.png": ["a"]}, ["2 images of 5", "x.png"]),
        ({**GOOD, "../0.png": ["a"]}, ["../0.png", "outside"]),
        ({**GOOD, "/etc/passwd": ["a"]}, ["/etc/passwd", "outside"]),
        ({**GOOD, "../mine/../../0.png": ["a"]}, ["../0.png", "outside"]),
        ({**GOOD, "../mine": ["a"]}, ["../mine", "outside"]),
        ({**GOOD, "../mine/0.png": ["a"]}, ["the image ../mine/0.png twice"]),
        ({**GOOD, "a/../0.png": ["a"]}, ["a/../0.png twice"]),
        ({**GOOD, "1.png": {"captions": ["a"], "split": "dev"}}, ["no split", "0.png"]),
        ({f: {"captions": ["a"], "split": "dev"} for f in GOOD}, ["0.png", "'dev'"]),
        ({f: {"captions": ["a"], "split": "train"} for f in GOOD}, ["no image in split val"]),
        ({f: {"captions": ["a"], "split": "val"} for f in GOOD}, ["no image in split train"]),
    ],
)
def test_bad_captions_json(mine, tmp_path, text, words):
    path = mine / "captions.json"
    text = json.dumps(text) if isinstance(text, dict) else text
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    told(lambda: load("folder", mine, tmp_path / "cache"), path, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ['no column "image"']),
        ("image:caption\n0.png:a\n", ['no column "image"', "image:caption"]),
        ("Image;Caption\n0.png;a;b\n", ["line 2", "semicolons", "quotes"]),
        ("image,text\n0.png,a\n", ['no column "caption"', "image, text"]),
        ("image,caption,caption\n0.png,a,b\n", ['the column "caption" twice']),
        ("image,caption, caption\n0.png,a,b\n", ['the column "caption" twice']),
        ("image,image,caption\n0.png,1.png,b\n", ['the column "image" twice']),
        ("image,caption,split,split\n0.png,a,val,test\n", ['the column "split" twice']),
        ("image,caption\n0.png,a\n1.png,b, c\n", ["line 3", "quotes"]),
        ("image,caption\n0.png\n", ["line 2", "fields"]),
        ('image,caption\n0.png,"a"b\n', ["line 2"]),
        ('image,caption\n0.png,"a\n', ["captions.csv"]),
        ("image,caption\n,a\n", ["line 2", "no image is named"]),
        ("image,caption\n0.png,a\n1.png,\n", ["1.png", "no words"]),
        ("image,caption\n0.png,caf\u00e9\n".encode("latin-1"), ["UTF-8", "line 2"]),
        ("image,caption\n0.png,a\n".encode("utf-16"), ["UTF-8"]),
        ("image,caption,split\n0.png,a,val\n0.png,b,train\n", ["line 3", "'val'", "'train'"]),
        ("image,caption,split\n0.png,a,val\n1.png,b,\n", ["1.png", "no split"]),
    ],
)
def test_bad_captions_csv(mine, tmp_path, text, words):
    path = mine / "captions.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    told(lambda: load("folder", mine, tmp_path / "cache"), path, *words)


def names_on_disk(mine: Path, tmp_path: Path) -> set[str]:
    splits = load("folder", mine, tmp_path / "cache").splits
    return {Path(file).name for split in splits.values() for file in split.image.files}


def test_accents_in_a_files_name_are_one_letter_or_two(mine, tmp_path):
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for name, other in ((composed, apart), (apart, composed)):
        paint(mine / name / f"{name}.png")
        (mine / "captions.json").write_text(json.dumps({**GOOD, f"{other}/{other}.png": ["a b"]}))
        assert f"{name}.png" in names_on_disk(mine, tmp_path)
        shutil.rmtree(mine / name)
    for name in (composed, apart):
        paint(mine / f"{name}.png")
    (mine / "captions.json").write_text(json.dumps({**GOOD, f"{apart}.png": ["a b"]}))
    told(lambda: load("folder", mine, tmp_path / "cache"), "twice, its accents", mine)


def test_a_name_in_full_may_lead_into_the_folder(mine, tmp_path):
    (mine / "captions.json").write_text(json.dumps({str(mine / name): ["a b"] for name in GOOD}))
    assert names_on_disk(mine, tmp_path) == {*GOOD}
    back = {f"../{mine.name}/{name}": ["a b"] for name in GOOD}
    (mine / "captions.json").write_text(json.dumps(back))
    assert names_on_disk(mine, tmp_path) == {*GOOD}
    beside = {**GOOD, f"{mine}2/0.png": ["a b"]}
    (mine / "captions.json").write_text(json.dumps(beside))
    told(lambda: load("folder", mine, tmp_path / "cache"), "outside")


def test_digits_without_end_are_told_of(mine, tmp_path):
    (mine / "captions.json").write_text('{"0.png": [' + "9" * 5000 + "]}")
    told(lambda: load("folder", mine, tmp_path / "cache"), mine / "captions.json", "digits")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda found: [], ["lists images and annotations"]),
        (lambda found: {**found, "images": 3}, ["lists images and annotations"]),
        (lambda found: {**found, "annotations": ["a"]}, ["lists images and annotations"]),
        (lambda found: {**found, "images": found["images"] * 2}, ["image 3 has the id 0"]),
        (lambda found: {**found, "images": [{"id": 0}]}, ["image 0", '"file_name"']),
        (lambda found: {**found, "images": [{"file_name": "a"}]}, ["image 0", '"id": None']),
        (lambda found: {**found, "images": found["images"][1:]}, ["annotation 0", "not listed"]),
        (lambda found: {**found, "annotations": [{"image_id": 0}]}, ["annotation 0", '"caption"']),
        (lambda found: {**found, "annotations": [{"id": 0}]}, ["annotation 0", '"image_id"']),
        (lambda found: {**found, "annotations": []}, ["image 0", "no captions"]),
    ],
)
def test_bad_coco_annotations(spoil, words, tmp_path):
    official_zips(tmp_path / "coco")
    coco.fetch(tmp_path / "coco", str)
    path = tmp_path / "coco/annotations/captions_train2014.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    told(lambda: coco.read_official(tmp_path / "coco"), path, *words)


def without(key: str) -> dict:
    found = karpathy(("0.png", "train", ["a"]), ("1.png", "val", ["b"]))
    del found["images"][1][key]
    return found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, ['no list "images"']),
        ([], ['no list "images"']),
        ({"images": []}, ['no list "images"']),
        ({"images": ["0.png"]}, ["image 0", '"filename"']),
        (without("filename"), ["image 1", '"filename"']),
        (without("sentences"), ["image 1 (1.png)", '"sentences"']),
        (without("split"), ["image 1 (1.png)", '"split"']),
        (karpathy(("0.png", "train", ["a"]), ("1.png", "val", [" "])), ["1.png", "no words"]),
        (karpathy(("0.png", "train", ["a"]), ("1.png", "val", [])), ["1.png", "no captions"]),
        (karpathy(("0.png", "train", ["a"])), ["no image in split val"]),
        (karpathy(("0.png", "train", ["a"]), ("0.png", "val", ["a"])), ["0.png twice"]),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), imgid=7), ["the id 7"]),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), imgid=None), ['"imgid": None']),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), imgid=True), ['"imgid": True']),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), cocoid=[1]), ['"cocoid": [1]']),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), cocoid=0.5), ['"cocoid": 0.5']),
        (without("imgid"), ["image 1 (1.png) has no id", "call all by one"]),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), sentences=[{}]), ['"raw"']),
        (karpathy(("0.png", "train", "a"), ("1.png", "val", "b"), filepath=".."), ["outside"]),
    ],
)
def test_bad_karpathy_files(mine, tmp_path, found, words):
    path = mine / "dataset_flickr30k.json"
    path.write_text(json.dumps(found))
    told(lambda: load("flickr30k", mine, tmp_path / "cache"), path, *words)


def test_bad_paths(mine, tmp_path):
    told(lambda: load("cifar", mine), "'cifar'", "scenes, scenes-paragraphs, flickr8k,")
    told(lambda: load("flickr8k"), "dataset_flickr8k.json", "--config.data.path")
    told(lambda: load("folder"), "captions.json or captions.csv")
    told(lambda: load("scenes", mine), mine)
    told(lambda: load("folder", tmp_path / "no"), tmp_path / "no", "does not exist")
    told(lambda: load("folder", mine), mine, "captions.json or captions.csv")
    told(lambda: load("coco", mine), mine, "dataset_coco.json")
    told(lambda: load("folder", mine / "0.png"), mine / "0.png", "neither")
    for file in ("captions.json", "captions.csv"):
        (mine / file).write_text("")
    told(lambda: load("folder", mine), mine, "both")


def test_a_cache_that_cannot_be_written_is_told_of(mine, tmp_path):
    (mine / "captions.json").write_text(json.dumps(GOOD))
    (tmp_path / "file").write_text("")
    told(lambda: load("folder", mine, tmp_path / "file"), tmp_path / "file", "cache")


def test_a_link_to_nowhere_is_told_of(mine, tmp_path):
    (mine / "captions.json").write_text(json.dumps(GOOD))
    (mine / "1.png").unlink()
    (mine / "1.png").symlink_to(mine / "gone.png")
    told(lambda: load("folder", mine, tmp_path / "cache"), mine / "1.png")


def test_images_that_cannot_be_read_are_counted(mine, tmp_path):
    (mine / "captions.json").write_text(json.dumps({f"{i}.png": ["a"] for i in range(6)}))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(
        mine / "cut.jpg"
    )
    cut = (mine / "cut.jpg").read_bytes()
    (mine / "1.png").write_bytes(cut[: len(cut) // 2])
    (mine / "2.png").write_bytes(b"")
    (mine / "3.png").write_text("a letter")
    splits = load("folder", mine, tmp_path / "cache").splits
    bad = 0
    for split in splits.values():
        damaged = [i for i in split.ids if i in ("1.png", "2.png", "3.png")]
        bad += len(damaged)
        if damaged:
            count = f"{len(damaged)} of {len(split.ids)} images"
            told(lambda: check_images(split, progress=False), count, mine / damaged[0])  # noqa: B023
        else:
            check_images(split, progress=False)
    assert bad == 3


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="needs Flickr8k (CAPJAX_FLICKR8K)")
def test_flickr8k(tmp_path):
    data = load("flickr8k", FLICKR8K, tmp_path)
    assert {split: len(found.ids) for split, found in data.splits.items()} == {
        "train": 6000,
        "val": 1000,
    }
    assert all(len(captions) == 5 for captions in data.splits["train"].captions)
    assert data.splits["train"].captions[0][1] == "A girl going into a wooden building ."
    assert data.splits["val"].image(999).shape == (224, 224, 3)
