"""Paragraphs are parted where their sentences end, and again where a captioner's words do."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capjax.data import Vocabulary, tokenize
from capjax.data.sentences import sentence_words, sentences
from capjax.data.tokens import one_line
from capjax.errors import InputError

PEOPLES = Path(
    os.environ.get("CAPJAX_PARAGRAPHS", Path(__file__).parents[3] / "shared/data/paragraphs")
)
PARTED = """
A dog runs. It is brown.                    => A dog runs. | It is brown.
a dog runs. it is brown                     => a dog runs. | it is brown
Is it a dog? Yes!! It barks                 => Is it a dog? | Yes!! | It barks
a dog . two cats .                          => a dog . | two cats .
of a wall.The sky is clear.In the back      => of a wall. | The sky is clear. | In the back
A WALL.THE DOG. ON IT.A LAMP                => A WALL. | THE DOG. | ON IT. | A LAMP
white in color.the bike is red. see you.com => white in color. | the bike is red. | see you.com
ground .There are socks .  A dog            => ground . | There are socks . | A dog
on his body., A woman sits                  => on his body. | A woman sits
behind the t.v. The floor. The t.v. is on.  => behind the t.v. | The floor. | The t.v. is on.
Mr. Smith of St. Louis is No. 6. He sits.   => Mr. Smith of St. Louis is No. 6. | He sits.
J. K. Rowling, a D. Monosson & Son truck.   => J. K. Rowling, a D. Monosson & Son truck.
On Main St. There is a car at 5 p.m. today. => On Main St. | There is a car at 5 p.m. today.
balls, etc. in a box, etc. Dogs run         => balls, etc. in a box, etc. | Dogs run
a man... riding a bike... The end… yes      => a man... riding a bike... | The end… yes
very well... there is a base                => very well... | there is a base
It says "Stop." The wall "no." is white     => It says "Stop." | The wall "no." is white
It costs 3.20 a pound, or 2.5.She buys 2.   => It costs 3.20 a pound, or 2.5. | She buys 2.
the number is 9. The year is 2013. 5 cats   => the number is 9. | The year is 2013. | 5 cats
at www.Dog.Com or me@Home.Org.              => at www.Dog.Com or me@Home.Org.
Amazon.com sells it. flights to U.S. Army   => Amazon.com sells it. | flights to U.S. Army
他走。她看！有狗                              => 他走。 | 她看！ | 有狗
... ! a dog " . "                           => a dog " .
. . .                                       =>
"""  # noqa: RUF001


@pytest.mark.parametrize("line", PARTED.strip().splitlines() + ["=>"])
def test_sentences_end_where_people_end_them(line):
    text, expected = line.split("=>")
    expected = [part.strip() for part in expected.split("|") if part.strip()]
    assert sentences(text) == expected
    # Lines are words parted by spaces for the tokenizer, and so they are here.
    assert sentences(text.replace(" ", " \n")) == expected


def test_sentences_are_of_one_text():
    with pytest.raises(InputError, match="one paragraph as text, not a list"):
        sentences(["a dog."])


PIECES = """
a dog the t.v. A The St. st no. 5 No 6. etc. Mr. p. p's 's n't cannot U.S. Ph.D. mass. Mass. ill.
!! ?! ... . ! ? \u2026 .5 3.20 www.a.com x@y.z :) ( ) " ' , ; -- - it.The ok.ok a.m. e.g. wow!wow
a1.b2 U.S.-made No.1 body., end." 'end.' \u3002 \u72d7\u3002 <unk> <b> & $5 A. b.. c...
"""
texts = st.lists(
    st.tuples(st.sampled_from(PIECES.split()), st.sampled_from([" ", " ", " ", "", "\n"])),
    max_size=14,
).map(lambda pieces: "".join(piece + gap for piece, gap in pieces))


@settings(max_examples=150, deadline=None)
@given(texts | st.text(max_size=30) | st.text("aT. .!\"',1", max_size=30))
def test_nothing_is_lost_between_sentences_and_lower_case_adds_none(text):
    parts = sentences(text)
    assert len(parts) == len(sentence_words(text))
    lost = set(one_line(text)) - set("".join(parts))
    assert not tokenize(" ".join(lost - set(".!?")))
    for part in parts:
        assert sentences(part) == [part.strip()]
    if text.isascii():
        assert len(sentences(text.lower())) <= len(parts)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts | st.text(max_size=30), min_size=1, max_size=4), st.data())
def test_what_is_spoken_is_parted_as_it_was_spoken(paragraphs, data):
    vocabulary = Vocabulary.build([*paragraphs, "a dog."], min_count=1, sentences=True)
    assert vocabulary.sentences
    words = st.integers(1, len(vocabulary) - 1).filter(lambda i: i != 2)
    spoken = data.draw(st.lists(st.lists(words, min_size=1, max_size=4), max_size=4))
    ids = [i for sentence in spoken for i in (2, *sentence)][1:]
    assert vocabulary.encode(vocabulary.decode(ids), len(ids) + 1).tolist() == [*ids, 0]
    assert len(sentences(vocabulary.decode(ids))) == len(spoken)
    for text in paragraphs:
        again = vocabulary.decode(vocabulary.encode(text, 100))
        assert vocabulary.encode(again, 100).tolist() == vocabulary.encode(text, 100).tolist()


def test_ids_of_paragraphs(tmp_path):
    texts = ["A dog runs. It is a dog.", "A cat! A dog on Main st"]
    vocabulary = Vocabulary.build(texts, min_count=1, sentences=True)
    assert vocabulary.words[:5] == ("", "<unk>", ".", "a", "dog")
    find = vocabulary.ids
    ids = [find[word] for word in ("a", "dog", "runs", ".", "it", "is", "a", "dog")]
    for length, expected in [(10, [*ids, 0, 0]), (9, [*ids, 0]), (8, ids), (4, ids[:4])]:
        np.testing.assert_array_equal(vocabulary.encode(texts[0], length), expected)
    assert vocabulary.decode([*ids, 0, 2]) == "a dog runs. it is a dog."
    assert vocabulary.decode([2, 4, 2, 2, 4, 2, 0]) == ". dog. . dog."
    assert vocabulary.decode([find["st"], 2, find["dog"]]) == "st . dog."
    assert vocabulary.decode([]) == vocabulary.decode([0]) == ""
    assert vocabulary.encode(" ... ", 2).tolist() == [0, 0]
    vocabulary.save(tmp_path / "words.json")
    assert Vocabulary.load(tmp_path / "words.json") == vocabulary
    assert Vocabulary.load(tmp_path / "words.json").sentences


def test_a_flat_vocabulary_knows_no_sentences(tmp_path):
    vocabulary = Vocabulary.build(["A dog. A cat."], min_count=1)
    assert not vocabulary.sentences
    assert vocabulary.words[2:] == ("a", "cat", "dog")
    assert vocabulary.decode(vocabulary.encode("A dog. A cat.", 9)) == "a dog a cat"
    vocabulary.save(tmp_path / "words.json")
    assert (tmp_path / "words.json").read_bytes() == b'{\n"words": [\n"a",\n"cat",\n"dog"\n]\n}\n'
    assert not Vocabulary(("", "<unk>")).sentences


@pytest.fixture(scope="module")
def peoples() -> list[str]:
    """The paragraphs that people wrote of Visual Genome's images (Krause et al., 2017)."""
    found = [PEOPLES / f"para_captions_{split}.json" for split in ("val", "test")]
    if not all(path.is_file() for path in found):
        pytest.skip(f"needs {found[0].name} and {found[1].name}; CAPJAX_PARAGRAPHS=DIR")
    files = [json.loads(path.read_text()) for path in found]
    return [row["caption"] for content in files for row in content["annotations"]]


def test_of_the_paragraphs_of_people(peoples):
    assert len(peoples) == 4976
    parted = [sentence_words(text) for text in peoples]
    counts = np.bincount([len(each) for each in parted])
    assert 5.5 < sum(map(len, parted)) / len(parted) < 6
    assert counts[1] == 5
    assert len(counts) == 19
    alike = [
        [w for part in each for w in part] == tokenize(text)
        for each, text in zip(parted, peoples, strict=True)
    ]
    assert sum(alike) == 4871  # the others have no space behind a stop
    vocabulary = Vocabulary.build(peoples, min_count=2, sentences=True)
    some = slice(None, None, 5)
    rows = vocabulary.encode_all(peoples[some], 400)
    again = vocabulary.encode_all([vocabulary.decode(row) for row in rows], 400)
    np.testing.assert_array_equal(again, rows)
    assert ((rows == 2).sum(1) + 1 == [len(each) for each in parted[some]]).all()
