"""Is the page what it was made of: the numbers, the pictures, and text that stays text?"""

import base64
import io
import math
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from capjax.report import (
    Example,
    Html,
    Missing,
    Pair,
    Shaded,
    chart_groups,
    curves,
    escape,
    facts,
    gallery,
    marked,
    page,
    pairs,
    paragraph,
    paragraph_variants,
    picture,
    score_table,
    section,
    shaded,
    table,
    variants,
    write_page,
    write_report,
)
from capjax.report.axes import axis, span
from capjax.report.charts import WIDTH

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg></li></article></title><!-- ]]> <![CDATA[",
    "&lt;b&gt; &amp; &#60; {braces} % \\ `",
    "a" * 1000,
    "دائرة حمراء 🔴⭐ \u202ereversed",
    "two\nlines\tand a tab",
]
VOID = {"meta", "link", "img", "br", "hr"}
SMALL = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


class Parsed(HTMLParser):
    """The elements and texts of a page; fails where tags do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []  # of every innermost element, in the order of their ends
        self.open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), "an attribute twice"
        if tag not in VOID:
            self.open.append((tag, []))

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, text = self.open.pop()
        assert opened == tag
        self.texts.append("".join(text))

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1][1].append(data)
        else:
            assert not data.strip()

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        named = [attrs for name, attrs in self.elements if name == tag]
        return [attrs for attrs in named if kind in (attrs.get("class") or "").split() or not kind]


def report(tmp_path, text: str) -> str:
    """A report whose every text is the one given."""
    path = write_report(
        tmp_path / "report.html",
        title=text,
        configuration={text: {text: text}, "list": [text]},
        metrics=[{"step": i, "stage": f"{i // 5}{text}", text: i, "loss": i} for i in range(10)],
        scores={text: {text: 0.5, "unavailable": {"spice": text}}},
        examples=[Example(text, SMALL, [(text, [text]), ("people", [text])], {text: True})],
        groups=[(text, [text, "loss", "never"]), ("nothing", [text + "?"])],
        footer=text,
    )
    return path.read_text(encoding="utf-8")


def shape(text: str) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attrs)) for tag, attrs in Parsed(text).elements]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_stays_text_and_makes_no_element_or_attribute(tmp_path, text):
    made = report(tmp_path, text)
    parsed = Parsed(made)
    assert shape(made) == shape(report(tmp_path, "plain"))
    # The title twice, the chart, the caption twice, the writer, the id, the footer ... as it is.
    assert parsed.texts.count(text) >= 12
    [svg] = [attrs for attrs in parsed.of("svg") if "aria-label" in attrs]
    assert svg["aria-label"] == text
    [image] = parsed.of("img")
    assert image["alt"] == f"image {text}"
    assert text in [attrs.get("title") for attrs in parsed.of("span", "missing")]


def test_control_characters_are_shown_not_sent():
    assert escape("\x00\x1b\x7f\x85\ud800\uffff\r") == "\u2400\u241b\u2421\ufffd\ufffd\ufffd\u240d"
    assert escape("a\tb\nc") == "a\tb\nc"


def test_only_html_goes_in_as_it_is():
    assert escape(escape("<b>")) == "&lt;b&gt;"
    assert "<i>kept</i>" in page("t", [Html("<i>kept</i>")])
    assert "&lt;i&gt;" in page("t", ["<i>text</i>", section("s", "more")])


def test_a_report_loads_and_runs_nothing(tmp_path):
    parsed = Parsed(report(tmp_path, "https://example.org/a.png"))
    for tag, attrs in parsed.elements:
        assert tag not in ("script", "iframe", "object", "embed", "use", "base", "a", "form")
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                assert value.startswith("data:")
    style = re.search("<style>(.*?)</style>", page("t", []), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def data_of(drawn: str, kind: str = "line") -> list[list[tuple[float, float]]]:
    """The points of each line in one chart, read back by means of the ticks beside it."""
    ticks = {
        side: [
            (float(at), float(text.replace(",", "").replace("\u2212", "-"))) for at, text in hits
        ]
        for side, hits in {
            "x": re.findall(r'<span class="x" style="left:([\d.]+)%">([^<]+)<', drawn),
            "y": re.findall(r'<span class="y" style="top:([\d.]+)px">([^<]+)<', drawn),
        }.items()
    }

    def back(side: str, at: float) -> float:
        (a, low), *_, (b, high) = ticks[side]
        return low + (at - a) / (b - a) * (high - low)

    plot = drawn[drawn.index('class="plot"') :]
    [path] = re.findall(rf'<path class="{kind} [^"]*" d="([^"]*)"', plot) or [""]
    runs = [
        re.findall(r"([\d.]+) ([\d.]+)", run.removesuffix("h0")) for run in path.split("M") if run
    ]
    return [
        [(back("x", float(x) / WIDTH * 100), back("y", float(y))) for x, y in run] for run in runs
    ]


def close(found, wanted) -> bool:
    return [len(run) for run in found] == [len(run) for run in wanted] and np.allclose(
        np.concatenate(found), np.concatenate(wanted), atol=2e-3, rtol=2e-3
    )


def test_lines_lie_where_the_numbers_say():
    values = {0: 4.0, 3: 2.5, 7: -1.25, 10: 0.5}
    rows = [{"step": step, "stage": "mle", "loss": value} for step, value in values.items()]
    drawn = curves(rows, [("Loss", ["loss"])])
    assert close(data_of(drawn), [list(values.items())])
    assert close(data_of(drawn, "dot"), [[point] for point in values.items()])


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf, None, "NaN", 1e300, True])
def test_what_is_no_number_leaves_a_gap(hole):
    rows = [{"step": step, "loss": float(step)} for step in range(6)]
    rows[2]["loss"] = hole
    drawn = curves(rows, [("Loss", ["loss"])])
    assert close(data_of(drawn), [[(0, 0), (1, 1)], [(3, 3), (4, 4), (5, 5)]])
    assert "1 value was not a finite number" in drawn


def test_rows_without_a_metric_say_nothing_of_it():
    rows = [{"step": step, "loss": 1.0} | ({"val": step} if step % 2 else {}) for step in range(6)]
    assert close(data_of(curves(rows, [("Val", ["val"])])), [[(1, 1), (3, 3), (5, 5)]])


def test_steps_written_again_after_a_kill_replace_the_first():
    rows = [{"step": step, "loss": value} for step, value in [(1, 1), (2, 9), (2, 2), (3, 3)]]
    assert close(data_of(curves(rows, [("Loss", ["loss"])])), [[(1, 1), (2, 2), (3, 3)]])


def test_stages_that_count_from_zero_are_laid_end_to_end_and_a_stage_without_values_is_a_gap():
    stages = [("a", "loss"), ("b", "other"), ("c", "loss")]
    rows = [{"step": i, "stage": stage, name: i} for stage, name in stages for i in range(5)]
    drawn = curves(rows, [("Loss", ["loss"])])
    one = [(i, i) for i in range(5)]
    assert close(data_of(drawn), [one, [(8 + i, i) for i in range(5)]])
    assert drawn.count('<path class="stage"') == 2


def test_one_value_is_a_dot_and_none_is_said_in_words():
    one = curves([{"step": 5, "loss": 2.0}], [("Loss", ["loss", "val_loss"])])
    assert data_of(one) == []
    assert close(data_of(one, "dot"), [[(5, 2)]])
    assert "No finite value of val_loss was measured." in one
    for rows in ([], [{"step": 1, "loss": math.nan}]):
        nothing = curves(rows, [("Loss", ["loss"])])
        assert "No finite value of loss was measured." in nothing
        assert "<svg" not in nothing


def test_many_values_become_means_within_a_band_of_the_extremes():
    noise = np.random.default_rng(0).normal(size=12_000)
    rows = [{"step": i, "loss": float(value)} for i, value in enumerate(noise)]
    drawn = curves(rows, [("Loss", ["loss"])])
    means = noise.reshape(-1, 50)
    wanted = [(50 * i + 24.5, mean) for i, mean in enumerate(means.mean(axis=1))]
    [found] = data_of(drawn)
    np.testing.assert_allclose(found, wanted, atol=12)  # pixels are 12 steps wide
    np.testing.assert_allclose([y for _, y in found], means.mean(axis=1), atol=0.01)
    [band] = data_of(drawn, "band")
    top, bottom = band[:240], band[240:][::-1]
    np.testing.assert_allclose([y for _, y in top], means.max(axis=1), atol=0.01)
    np.testing.assert_allclose([y for _, y in bottom], means.min(axis=1), atol=0.01)
    assert "Means of every 50 steps" in drawn
    assert len(drawn) < 20_000


@pytest.mark.parametrize("seed", range(20))
def test_axes_hold_their_values_at_even_ticks(seed):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=3) + rng.normal() * 10) * 10.0 ** rng.integers(-9, 10)
    found = axis(values.tolist())
    assert found.low <= values.min()
    assert values.max() <= found.high
    assert 2 <= len(found.ticks) <= 8
    np.testing.assert_allclose(np.diff(found.ticks), np.diff(found.ticks)[0], rtol=1e-6)
    assert len(set(found.labels())) == len(found.ticks)
    steps = span(*sorted(rng.integers(0, 10 ** rng.integers(1, 7), 2).tolist()))
    assert steps.low <= steps.ticks[0] <= steps.ticks[-1] <= steps.high
    assert all(tick == int(tick) for tick in steps.ticks)


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-2e-9], [1e149, -1e149], [1e9, 1e9 + 1]])
def test_axes_stand_strange_values(values):
    found = axis(values)
    assert found.low <= min(values) <= max(values) <= found.high
    assert len(found.labels()) == len(found.ticks) > 1


def test_losses_share_a_chart_and_scores_do_not():
    rows = [{"step": 1, "stage": "a", "loss": 1, "cider_d": 1}, {"step": 1, "val_loss": 1, "x": 1}]
    wanted = [("Loss", ["loss", "val_loss"]), ("cider_d", ["cider_d"]), ("x", ["x"])]
    assert chart_groups(rows) == wanted


def embedded(html: str) -> Image.Image:
    [source] = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return Image.open(io.BytesIO(base64.b64decode(source)))


def test_small_images_come_back_exactly_and_photos_nearly():
    drawn = embedded(picture(SMALL, "seven by five"))
    assert drawn.format == "PNG"
    np.testing.assert_array_equal(np.array(drawn), SMALL)
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    photo = np.broadcast_to(ramp[:, None], (224, 200, 1)).repeat(3, axis=2).copy()
    shown = embedded(picture(photo, "a ramp"))
    assert shown.format == "JPEG"
    assert np.abs(np.array(shown).astype(int) - photo).mean() < 2
    assert embedded(picture(np.zeros((480, 640, 3), np.uint8), "large")).size == (320, 240)


@pytest.mark.parametrize("image", [SMALL[..., 0], SMALL.astype(np.float32), SMALL[:0]])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        picture(image, "nothing")


def test_captions_stand_in_columns_as_they_were_given():
    texts = {"mle": ["a dog"], "gan": ["a wet dog", ""], "people": []}
    made = gallery([Example("1", SMALL, list(texts.items()))])
    said = Parsed(made).texts
    assert [said.index(text) for text in ("mle", "a dog", "gan", "a wet dog", "people")] == sorted(
        said.index(text) for text in ("mle", "a dog", "gan", "a wet dog", "people")
    )
    assert "(no words)" in said
    assert "no caption" in said
    assert "There are no images" in gallery([])


def test_shades_are_of_the_lift_and_full_at_three_nats():
    lifts = [0.0, 1.5, 3.0, 99.0, -0.75, -9.0, -1e-9]
    spans = Parsed(shaded(Shaded("name", list("abcdefg"), lifts))).of("span", "word")
    strengths = [span["style"] for span in spans]
    assert strengths == [f"--s:{n}%" for n in (0, 50, 100, 100, 25, 100, 0)]
    lifted = ["lifted" in (span["class"] or "") for span in spans]
    assert [up for up, lift in zip(lifted, lifts, strict=True) if lift] == [
        lift > 0 for lift in lifts if lift
    ]
    assert [span["title"] for span in spans][1:5] == [
        *("+1.50 nats", "+3.00 nats", "+99.00 nats", "\u22120.75 nats")
    ]
    assert spans[-1]["title"] == "+0.00 nats"
    assert "no words" in shaded(Shaded("name", [], []))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_words_and_names_of_pairs_stay_text(text):
    def made(text: str) -> str:
        said = Shaded(text, [text, "dog", text], [1.0, -2.0, 0.5])
        return pairs([Pair(text, SMALL, [(text, SMALL)], [said])])

    assert shape(made(text)) == shape(made("plain"))
    parsed = Parsed(made(text))
    assert parsed.texts.count(text) == 2 + 1 + 2  # images' names, the caption's, its words
    assert [image["alt"] for image in parsed.of("img")] == [f"target {text}", f"distractor {text}"]
    assert parsed.of("dd")[0]["dir"] == "auto"


def test_thirty_photos_stay_under_a_megabyte(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (28, 28, 3), np.uint8)  # soft, like most of a photo, with grain
    soft = np.array(Image.fromarray(coarse).resize((224, 224), Image.Resampling.BICUBIC))
    grain = soft.astype(int) + rng.normal(0, 4, soft.shape).astype(int)
    photo = grain.clip(0, 255).astype(np.uint8)
    examples = [
        Example(str(i), photo, [("model", ["a"]), ("people", ["b"] * 5)]) for i in range(30)
    ]
    path = write_page(tmp_path / "report.html", page("t", [gallery(examples)]))
    assert path.stat().st_size < 1_000_000


def test_tables_align_numbers_and_say_why_one_is_missing():
    made = table(["score", "val"], [["a", 1 / 3], ["b", None], ["c", Missing("no Java")]], "Scores")
    parsed = Parsed(made)
    assert "0.333" in parsed.texts
    assert len(parsed.of("td", "number")) == 3
    assert [attrs["title"] for attrs in parsed.of("span", "missing")] == ["not measured", "no Java"]
    assert "\u2013 c: no Java" in parsed.texts
    with pytest.raises(ValueError, match="2 cells"):
        table(["a", "b"], [["only one"]])


def test_scores_and_settings():
    made = score_table({"val": {"x": 1.0, "unavailable": {"spice": "no Java"}}, "test": {"y": 2}})
    assert Parsed(made).texts.count("\u2013") == 4
    assert Parsed(facts({"a": {"b": None, "c": [1]}, "d": {}})).texts[:6] == [
        *("a.b", "null", "", "a.c", "[1]", "")
    ]


def test_a_page_shows_what_is_no_text_escaped(tmp_path):
    path = write_page(tmp_path / "report.html", "caf\udce9 \ud800 é")
    assert path.read_text("utf-8") == "caf\\udce9 \\ud800 é"


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_page(tmp_path / "report.html", "old")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_page(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert report(tmp_path, "twice") == report(tmp_path, "twice")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_words_that_are_false_are_marked_and_stay_text(text):
    words = [*text.split(), "last"]
    for made in (
        marked(" ".join(words), {}, {0}),
        variants([" ".join(words)] * 2 + ["last"], lambda said: {0} if said != "last" else ())[0],
        shaded(Shaded("", words, [0.0] * len(words), false={0})),
        paragraph([" ".join(words), "last"], lambda said: {0} if said != "last" else ()),
        paragraph_variants([[" ".join(words)]], lambda said: {0})[0],
    ):
        parsed = Parsed(f"<p>{made}</p>")
        assert len(parsed.of("span", "false")) == 1
        assert {words[0], words[0][:1].upper() + words[0][1:]} & {*parsed.texts}
        assert parsed.texts.count(" (false)") == 1
    assert marked(text, {}) == escape(text)


def test_a_paragraph_is_its_sentences_with_capitals_and_false_ones_marked():
    said = ["a dog runs.", "it is a cat.", "the the"]
    false = {said[1]: (3,), said[2]: None}
    made = paragraph(said, lambda sentence: false.get(sentence, ()))
    parsed = Parsed(f"<p>{made}</p>")
    assert parsed.texts.count(" (false)") == 2
    plain = re.sub(r'<span class="unseen">.*?</span>|<[^>]*>', "", made)
    assert plain == "A dog runs. It is a cat. The the"
    assert re.findall('class="false">([^<]*)', made) == ["cat.", "The the"]
    assert paragraph([]) == marked("", {})


def test_equal_paragraphs_are_counted_and_what_most_say_is_pale():
    drawn = [["a dog.", "it runs."]] * 2 + [["a dog.", "a cat."], ["a cow."]]
    assert [re.sub('<span class="paragraph">', "", one) for one in paragraph_variants(drawn)] == [
        '<span class="shared">A dog.</span> It runs.</span> <span class="times">\u00d72</span>',
        '<span class="shared">A dog.</span> A cat.</span>',
        "A cow.</span>",
    ]
