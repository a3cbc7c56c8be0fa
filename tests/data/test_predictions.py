"""Files of captions and references: each usual shape is read alike, and nothing is dropped."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capjax.data.caption_rows import has_words
from capjax.data.contents import of_texts
from capjax.data.predictions import pair, read_known, read_pair, read_predictions, read_references
from capjax.data.split_by_name import split_by_name
from capjax.data.tokens import tokenize
from capjax.errors import InputError
from capjax.metrics.protocol import hold_out

LINES = '{"id": 42, "caption": "a dog"}\n\n{"image_id": "7", "caption": ""}\n'
READ = {"42": ["a dog"], "7": [""]}


@pytest.fixture
def write(tmp_path: Path):
    def write(content: object, name: str = "file.json") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        "\ufeff" + LINES.replace("\n", "\r\n"),
        [{"image_id": 42, "caption": "a dog"}, {"image_id": 7, "caption": "", "id": 1}],
        {"42": "a dog", "7": ""},
        {"42": ["a dog"], "7": [""]},
        [{"id": "COCO_val2014_000000000042.jpg", "caption": "a dog"}, {"id": 7.0, "caption": ""}],
        [{"id": "000000000042", "caption": "a dog"}, {"id": "COCO_val2014_007", "caption": ""}],
    ],
)
def test_predictions_are_the_same_in_every_shape(content, write):
    assert read_predictions(write(content)) == READ


def test_json_lines_are_known_by_name_or_by_content(write):
    one = '{"id": "x.jpg", "caption": "a\\u2028b"}'
    for name in ("file.json", "file.jsonl", "file.txt"):
        assert read_predictions(write(one, name)) == {"x.jpg": ["a\u2028b"]}
        assert read_predictions(write(one + "\n", name)) == {"x.jpg": ["a\u2028b"]}
        two = one + "\n" + one.replace("x.jpg", "y.jpg")
        assert list(read_predictions(write(two, name))) == ["x.jpg", "y.jpg"]
    assert read_predictions(write(one.replace("\\u2028", "\u2028"), "f.jsonl"))["x.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        {"1": ["a", "b"], "2": ["c", "d"]},
        '{"id": 1, "caption": "a"}\n{"id": 2, "caption": "c"}\n'
        '{"id": 1, "caption": "b"}\n{"id": 2, "caption": "d"}',
        [{"image_id": 1, "captions": ["a", "b"]}, {"image_id": 2, "captions": ["c", "d"]}],
    ],
)
def test_several_captions_are_samples_only_where_asked_for(content, write):
    path = write(content)
    assert read_predictions(path, samples=True) == {"1": ["a", "b"], "2": ["c", "d"]}
    with pytest.raises(InputError, match="image 1 has 2 captions; give one, or say"):
        read_predictions(path)


REFERENCES = {"1": ["a dog", "the dog"], "2": ["a cat"]}


@pytest.mark.parametrize(
    "content",
    [
        {
            "images": [{"id": 1}, {"id": 2}],
            "annotations": [
                {"id": 5, "image_id": 1, "caption": "a dog"},
                {"id": 6, "image_id": 2, "caption": "a cat"},
                {"id": 7, "image_id": 1, "caption": "the dog"},
            ],
        },
        '{"id": 1, "references": ["a dog", "the dog"]}\n{"id": 2, "references": ["a cat"]}',
        '{"id": 1, "caption": "a dog"}\n{"id": 2, "caption": "a cat"}\n'
        '{"id": 1, "caption": "the dog"}',
        {"1": ["a dog", "the dog"], "2": ["a cat"]},
        [
            {"id": 1, "caption": "said of it", "references": ["a dog", "the dog"]},
            {"id": 2, "caption": "", "references": ["a cat"]},
        ],
    ],
)
def test_references_are_the_same_in_every_shape(content, write):
    assert read_references(write(content)) == REFERENCES


def test_a_split_of_karpathys_is_read(write):
    def image(name, split, *texts):
        sentences = [{"raw": text} for text in texts]
        return {"filename": f"{name}.jpg", "cocoid": name, "split": split, "sentences": sentences}

    path = write(
        {
            "images": [
                image(1, "test", "a dog", "the dog"),
                image(2, "test", "a cat"),
                image(3, "val", "a bird"),
            ]
        }
    )
    assert read_references(path, split="test") == REFERENCES
    assert read_references(path, split="val") == {"3": ["a bird"]}
    for split in (None, "train"):
        with pytest.raises(InputError, match="has the splits test, val"):
            read_references(path, split=split)


def test_karpathys_images_may_be_called_by_their_files(write):
    images = [
        {"filename": f"{n}.jpg", "imgid": i, "split": "val", "sentences": [{"raw": f"a {n}"}]}
        for i, n in enumerate(("dog", "cat"))
    ]
    references = write({"images": images}, "references.json")
    for first, second in (("0", "1"), ("dog.jpg", "cat.jpg")):
        said = write({first: "the dog", second: "the cat"})
        found = read_pair(said, references, split="val")
        assert found.references == {"0": ["a dog"], "1": ["a cat"]}  # as the references call them
    with pytest.raises(InputError, match="no references for 1 image"):
        read_pair(write({"cow.jpg": "the cow"}), references, split="val")


BAD = [
    ("", "not valid JSON"),
    ("[", "not valid JSON: Expecting value at line 1"),
    ('{"id": 1, "caption": "a"}\n{"id": 2, "caption": }', "line 2 is not valid JSON"),
    ('{"id": 1, "caption": "a"}\n{"id": 2, "id": 3}', "line 2 is no row with a caption: it names"),
    ('{"1": "a", "1": "b"}', 'lists "1" twice'),
    ("[" * 100_000, "nested too deeply"),
    ([], "holds no"),
    ({}, "holds no"),
    (3, "must hold rows"),
    (["a dog"], "row 0 is 'a dog', not a row"),
    ([{"caption": "a"}], 'row 0 has no "image_id"'),
    ([{"id": True, "caption": "a"}], '"id": True; make it a number or a text'),
    ([{"id": "", "caption": "a"}], "make it a number or a text"),
    ([{"id": " ", "caption": "a"}], "make it a number or a text"),
    ([{"id": 1.5, "caption": "a"}], "make it a number or a text"),
    ([{"id": 1, "caption": None}], "the caption None, which is not text"),
    ([{"id": 1, "caption": ["a", 3]}], "the caption 3, which is not text"),
    ({"1": ["a", {"caption": "b"}, 1.5]}, "the caption 1.5, which is not text"),
    ([{"id": 1, "caption": "\ud800"}], "half a character"),
]


@pytest.mark.parametrize("read", [read_predictions, read_references])
@pytest.mark.parametrize(("content", "said"), BAD)
def test_bad_files_are_told_of_in_one_sentence(read, content, said, write):
    path = write(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def notes(*annotated: int) -> dict:
    """COCO's annotations of images 1 and 2."""
    return {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (1, 2)],
        "annotations": [{"image_id": i, "caption": f"a {i}"} for i in annotated],
    }


def test_an_image_without_annotation_is_refused_where_it_is_needed(write):
    truth = write(notes(1), "references.json")
    for subset in (False, True):
        pairs = read_pair(write({"1": "a dog"}), truth, subset=subset)
        assert pairs.references == {"1": ["a 1"]}
        assert pairs.notes == ("Without an annotation, and not scored: 1 image (2).",)
        for name in ("2", "000000000002.jpg"):
            with pytest.raises(InputError, match="image 2 has no annotation; write one or"):
                read_pair(write({"1": "a dog", name: "a cat"}), truth, subset=subset)


PEOPLE = {"1.jpg": ["a dog, it runs", "the dog"], "2.jpg": ["a cat"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Flickr8k.token.txt", "1.jpg#0\ta dog, it runs\n1.jpg#1\tthe dog\n2.jpg#0\ta cat\n"),
        ("no ending", "1.jpg#0\ta dog, it runs\r\n2.jpg#0\ta cat\r\n\r\n1.jpg#1\tthe dog"),
        ("captions.txt", 'image,caption\n1.jpg,"a dog, it runs"\n1.jpg,the dog\n2.jpg,a cat\n'),
        ("excel.csv", "Image;Caption\r\n1.jpg;a dog, it runs\r\n1.jpg;the dog\r\n2.jpg;a cat"),
        ("excel.txt", "image\tcaption\n1.jpg\ta dog, it runs\n1.jpg\tthe dog\n2.jpg\ta cat\n"),
        (
            "results.csv",
            "image_name| comment_number| comment\n1.jpg| 0| a dog, it runs\n1.jpg| 1| the dog\n"
            "2.jpg| 0| a cat\n",
        ),
        (
            "results.csv",  # with the row that Flickr30k's is known for, and how others mended it
            "image_name| comment_number| comment\n1.jpg| 0| a dog, it runs\n1.jpg| 4   the dog\n"
            "2.jpg| 4   a cat|\n",
        ),
        ("spaces.csv", 'image,caption\n 1.jpg ,"a dog, it runs"\n1.jpg,the dog\n2.jpg ,a cat\n'),
        (
            "table.csv",
            'file_name,caption\n1.jpg,"a dog, it runs"\n1.jpg,the dog\n2.jpg,a cat\n',
        ),
    ],
)
def test_published_tables_are_read(name, content, write):
    found = read_references(write(content, name))
    assert {i: [text.strip() for text in texts] for i, texts in found.items()} == PEOPLE


TWO = {"1": ["a dog"], "2": ["a cat"]}


@pytest.mark.parametrize(
    "content",
    [
        {"results": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]},
        {"data": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]},
        {"1": [{"caption": "a dog"}], "2": [{"caption": "a cat", "image_id": 2, "id": 9}]},
        [{"cocoid": 1, "caption": "a dog"}, {"cocoid": 2, "caption": "a cat"}],
        [{"imgid": 1, "caption": "a dog", "id": 7}, {"imgid": 2, "caption": "a cat", "id": 8}],
        "image,caption\n1,a dog\n2,a cat\n",
        "image,caption\n1.0,a dog\n2.0,a cat\n",
        "id,caption\n1,a dog\n2,a cat\n",
        "IMAGE_ID;Caption\n1;a dog\n2;a cat\n",
    ],
)
def test_published_shapes_are_paired_by_their_ids(content, write):
    path = write(content, "said.csv" if isinstance(content, str) else "said.json")
    for truth in (TWO, [{"image": int(i), "caption": texts} for i, texts in TWO.items()]):
        pairs = read_pair(path, write(truth, "references.json"))
        assert pairs.candidates == pairs.references == TWO
    assert read_references(path) == TWO


def test_textcaps_references_stand_beside_each_of_their_captions(write):
    def rows(*several: list[str]) -> dict:
        return {
            "data": [
                {"image_id": "a1", "caption_str": texts[0], "reference_strs": texts}
                for texts in several
            ]
        }

    both = ["a dog", "the dog"]
    assert read_references(write(rows(both, both))) == {"a1": both}
    with pytest.raises(InputError, match="is image a1 once more; join its references"):
        read_references(write(rows(both, ["a cat"])))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b'{"1": "a"}', mtime=0), "compressed (.gz); unpack it"),
        (b"PK\x03\x04 and more", "compressed (.zip); unpack it"),
        ('{"1": "a"}'.encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"1.jpg#0\ta dog\nthe dog\n", "line 2 is not an image's name, #, a number"),
        (b'{"1": [{"image_id": 2, "caption": "a"}]}', "image 1 holds a caption of image 2"),
    ],
)
def test_what_to_do_with_other_files_is_said(content, said, tmp_path):
    for name in ("file.json", "file", "file.jsonl"):
        if name == "file.jsonl" and not content.startswith((b"PK", b"\x1f", b"\xff")):
            continue
        (tmp_path / name).write_bytes(content)
        for read in (read_predictions, read_references):
            with pytest.raises(InputError) as error:
                read(tmp_path / name)
            assert said in str(error.value)


@pytest.mark.parametrize(
    "form",
    [
        '{"id": 1, "caption": "a dog"}\n{"id": 2, "caption": "a cat"}\n',
        '[{"id": 1, "caption": "a dog"}, {"id": 2, "caption": "a cat"}]',
        "image,caption\n1,a dog\n2,a cat\n",
        "image,caption\n1.0,a dog\n2.0,a cat\n",
    ],
)
def test_files_may_come_through_pipes(form, write):
    """Which can be read once."""
    ends = []
    for _ in range(2):
        reads, writes = os.pipe()
        os.write(writes, form.encode())
        os.close(writes)
        ends.append(reads)
    try:
        pairs = read_pair(*(f"/dev/fd/{end}" for end in ends))
    finally:
        for end in ends:
            os.close(end)
    assert pairs.candidates == pairs.references == TWO


def test_of_known_captions_those_of_split_train_are_taken(write):
    splits = {"a.jpg": "train", "b.jpg": "val", "c.jpg": "train"}
    told = {name: {"captions": [f"of {name}"], "split": to} for name, to in splits.items()}
    table = "image,caption,split\n" + "".join(f"{n},of {n},{to}\n" for n, to in splits.items())
    karpathy = {
        "images": [
            {"filename": name, "split": to, "sentences": [{"raw": f"of {name}"}]}
            for name, to in splits.items()
        ]
    }
    for content, name in ((told, "c.json"), (table, "c.csv"), (karpathy, "d.json")):
        assert read_known(write(content, name)) == {"of a.jpg", "of c.jpg"}
    names = [f"{n}.jpg" for n in range(40)]
    plain = {name: [f"of {name}"] for name in names}
    assert read_known(write(plain)) == {f"of {name}" for name in names}
    train = {name for name, split in split_by_name(names, Path("x")).items() if split == "train"}
    assert read_known(write(plain), by_name=True) == {f"of {name}" for name in train}
    assert read_known(write({"1": ["a"], "2": ["b", "c"]}), by_name=True) == {"a", "b", "c"}


def test_an_image_of_another_split_is_told_to_be_there(write):
    names = [f"{n}.jpg" for n in range(40)]
    truth = write({name: [f"of {name}"] for name in names}, "captions.json")
    splits = split_by_name(names, truth)
    train = next(name for name, split in splits.items() if split == "train")
    said = write({train: "a dog"})
    with pytest.raises(InputError, match=r"in split train, by its name as in training.*=train"):
        read_pair(said, truth, split="val", subset=True)
    told = {
        "a.jpg": {"captions": ["a"], "split": "val"},
        train: {"captions": ["b"], "split": "test"},
    }
    with pytest.raises(InputError, match=r"in split test; leave it out, or .* --split=test"):
        read_pair(said, write(told, "captions.json"), split="val", subset=True)
    with pytest.raises(InputError, match=r"has the splits test, val; ask for one with --split$"):
        read_pair(said, truth)


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_predictions, [{"id": 1}], 'row 0 has no "caption"'),
        (read_references, [{"id": 1}], 'row 0 has no "references"'),
        (read_predictions, {"1": ["a"], "2": []}, "image 2 has 0 captions"),
        (read_predictions, [{"id": 1, "caption": "a"}, {"id": "1", "caption": "b"}], "in one way"),
        (read_predictions, [{"id": 1, "caption": "a"}, {"id": 1.0, "caption": "b"}], "in one way"),
        (read_predictions, [{"id": 2.0**53, "caption": "a"}], "make it a number or a text"),
        (read_predictions, [{"id": None, "caption": "a"}], "make it a number or a text"),
        (read_predictions, [{"id": "\ud800", "caption": "a"}], "half a character"),
        (read_predictions, [{"id": 1, "caption": "a", "captions": ["b"]}], 'both "caption" and'),
        (
            read_predictions,
            [
                {"image_id": 1, "image": "a.jpg", "caption": "a"},
                {"image_id": 1, "image": "b.jpg", "caption": "b"},
            ],
            "give each image one file",
        ),
        (read_predictions, {"info": {}, "images": [{"id": 1}]}, '"info" holds an object'),
        (
            read_predictions,
            {"images": [{"filename": "a.jpg", "sentences": []}]},
            "one of Karpathy's dataset_*.json, which hold references",
        ),
        (
            read_predictions,
            {"annotations": [{"id": 1, "caption": "a"}]},
            'has no "image_id"',
        ),
        (
            read_predictions,
            {"images": [{"id": 1}, {"id": 1}], "annotations": []},
            "has the id 1 of another",
        ),
        (read_references, {"1": ["a"], "2": []}, "image 2 has no references"),
        (read_references, {"1": ["a"], "2": ["."]}, "image 2 has the reference '.' without words"),
        (
            read_references,
            [{"id": 1, "references": ["a"]}, {"id": 1, "references": ["b"]}],
            "is image 1 once more",
        ),
        (
            read_references,
            {
                "a.jpg": {"captions": ["a"], "split": "val"},
                "b.jpg": {"captions": ["b"], "split": "train"},
            },
            "has the splits train, val; ask for one",
        ),
        (read_references, notes(1), "image 2 has no annotation"),
        (
            read_references,
            {"images": [], "annotations": [{"image_id": 1}]},
            'row 0 has no "caption"',
        ),
    ],
)
def test_what_a_file_lacks_is_named(read, content, said, write):
    with pytest.raises(InputError) as error:
        read(write(content))
    assert said in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": 1, "caption": "caf\xe9"}')
    for name, said in (("gone.json", "cannot read"), ("latin.jsonl", "not UTF-8"), ("", "cannot")):
        for read in (read_predictions, read_references):
            with pytest.raises(InputError, match=said):
                read(tmp_path / name)
    (tmp_path / "f.json").write_text('{"1": ["a"]}')
    with pytest.raises(InputError, match="has no split 'val'"):
        read_references(tmp_path / "f.json", split="val")


def test_the_same_ids_are_paired_in_the_order_of_the_captions():
    pairs = pair({"2": ["a"], "1": ["b"]}, {"1": ["c"], "2": ["d"]})
    assert list(pairs.candidates) == list(pairs.references) == ["2", "1"]
    assert pairs.references == {"2": ["d"], "1": ["c"]}
    assert (pairs.df_source, pairs.notes) == ("these references", ())


@pytest.mark.parametrize(
    ("called", "as_file"),
    [
        (("a.jpg", "b.jpg"), True),
        (("./train/a.jpg", "train/../b.jpg"), True),
        (("{folder}/a.jpg", "{folder}/train/b.jpg"), True),
        (("{folder}/../photos/a.jpg", "../photos/b.jpg"), True),
        (("/photos/1/a.jpg", "/photos/2/b.jpg"), True),
        (("../x/a.jpg", "../y/a.jpg"), True),  # without folders they would be one
        (("1", "coco_1"), False),
        (("42", "COCO_val2014_000000000007"), False),
    ],
)
def test_references_have_one_digest_wherever_they_lie_and_whoever_speaks_of_them(
    called, as_file, tmp_path
):
    digests, held_out = set(), set()
    for folder in (tmp_path / "one", tmp_path / "other" / "place"):
        folder.mkdir(parents=True)
        names = [name.format(folder=folder) for name in called]
        texts = dict(zip(names, (["a dog", "the dog"], ["a cat", "the cat", "cats"]), strict=True))
        forms = {
            "references.json": json.dumps(texts),
            "lines.json": "\n".join(
                json.dumps({"image" if as_file else "image_id": name, "references": said})
                for name, said in texts.items()
            ),
        }
        for form, text in forms.items():
            (folder / form).write_text(text)
            spellings = [names]
            if as_file and names[1].endswith("b.jpg"):
                spellings.append(["a.jpg", "b.jpg"])
            for spelling in spellings:
                said = folder / "said.json"
                said.write_text(json.dumps(dict.fromkeys(spelling, "a bird")))
                pairs = read_pair(said, folder / form)
                assert pairs.references == read_references(folder / form)
                digests.add(of_texts(pairs.references))
                human = hold_out(pairs.references)[0]
                held_out.add(tuple(text for texts in human.values() for text in texts))
    assert len(digests) == len(held_out) == 1


def test_ids_that_are_only_on_one_side_are_named_and_left_out_only_aloud():
    references = {str(i): ["a dog"] for i in range(10)}
    candidates = {"3": ["a"], "4": ["b"]}
    with pytest.raises(InputError, match=r"no caption for 8 images \(0, 1, 2, \.\.\.\)"):
        pair(candidates, references)
    with pytest.raises(InputError, match=r"captions and no references for 1 image \(x\)"):
        pair(candidates | {"x": ["c"]}, references, subset=True)
    pairs = pair(candidates, references, subset=True)
    assert list(pairs.references) == ["3", "4"]
    assert pairs.df_source == "these references of 2 of 10 images"
    assert "Only the 2 of 10 images" in pairs.notes[0]


@given(st.text(st.sampled_from("aB.-() \n&lt;;\u00e9\u2028\x00'`"), max_size=8))
@settings(derandomize=True, deadline=None, max_examples=500)
def test_whether_a_text_has_words_is_what_tokenize_says(text):
    assert has_words(text) == bool(tokenize(text))


def test_captions_without_words_are_counted():
    pairs = pair({"1": ["..."], "2": ["a", ""], "3": ["b"]}, {i: ["a"] for i in "123"})
    assert pairs.notes == ("A caption without words is scored as it is: 2 images (1, 2).",)
