"""How the page shows what was said: HTML from answers, by the report's own pieces."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from capjax.page.pictures import Picture
from capjax.report import Html, Shaded, caption_list, escape, legend, marked, picture, shaded
from capjax.report.gallery import encoded
from capjax.report.markup import join

ABOUT = (
    "Drop a photo, or take an image: what captioners say of it in several ways and, below, what"
    " they say to tell it from others."
)


class Way(NamedTuple):
    """Captions that were found in one way."""

    title: str
    captions: Sequence[str]  # text, or Html of shaded words
    marks: Sequence[Mapping[str, Any]] = ()  # of each caption, where there are some
    note: str = ""


class Verdict(NamedTuple):
    """A caption that is to tell an image from others, and what a listener makes of it."""

    title: str
    shaded: Shaded
    marks: Mapping[str, Any]
    chances: Sequence[float | None]  # [1 + M], of the image and the others; None where nobody hears


def heading() -> Html:
    """The top of the page."""
    return _within(Html(f'<h1>What does it say?</h1><p class="note">{ABOUT}</p>'))


def title(text: str) -> Html:
    """What a part of the page is about."""
    return _within(Html(f"<h2>{escape(text)}</h2>"))


def target(one: Picture) -> Html:
    """The picture that is spoken of, and what people said of it."""
    people = Html("")
    if one.people:
        heading = Html(f"<summary>What people say ({len(one.people)})</summary>")
        people = Html(f"<details>{heading}{caption_list(one.people)}</details>")
    return _within(
        Html(
            f'<figure class="target">{picture(one.look, f"image {one.name}")}'
            f"<figcaption><bdi>{escape(one.name)}</bdi></figcaption></figure>{people}"
        )
    )


def ways(runs: Sequence[tuple[str, Sequence[Way] | str]]) -> Html:
    """What each run says in every way, runs side by side; text in the place of what it cannot."""
    return _within(Html(f'<div class="runs">{join(_run(*run, _ways) for run in runs)}</div>'))


def verdicts(runs: Sequence[tuple[str, Sequence[Verdict] | str]], note: str) -> Html:
    """Captions of each run with shaded words, and bars; note: whose they are."""
    body = join(_run(*run, _verdicts) for run in runs)
    about = Html(f'<p class="note">{escape(note)}</p>') if note else ""
    return _within(Html(f'{legend()}{about}<div class="runs">{body}</div>'))


def looks(one: Picture, others: Sequence[Picture]) -> Html:
    """The pictures that `verdicts` points at; sent once, and not at every move of a slider."""
    addresses = [encoded(picture.look)[2] for picture in (one, *others)]
    rules = "".join(f"--look{i}:url({address});" for i, address in enumerate(addresses))
    return Html(f"<style>:root{{{rules}}}</style>")


def alert(sentence: str) -> Html:
    """What went wrong, where people look for it; nothing for no sentence."""
    if not sentence:
        return Html("")
    return _within(Html(f'<p class="alert" role="alert">{escape(sentence)}</p>'))


def hint(sentence: str) -> Html:
    """What could be done."""
    return _within(Html(f'<p class="note">{escape(sentence)}</p>'))


def _within(body: str) -> Html:
    return Html(f'<div class="capjax">{body}</div>')


def _run(name: str, found: Any, show: Any) -> Html:
    body = Html(f'<p class="note">{escape(found)}</p>') if isinstance(found, str) else show(found)
    return Html(f'<article class="run"><h3><bdi>{escape(name)}</bdi></h3>{body}</article>')


def _ways(every: Sequence[Way]) -> Html:
    return Html(f'<div class="ways">{join(map(_way, every))}</div>')


def _way(way: Way) -> Html:
    lines = way.captions
    if way.marks:
        pairs = zip(way.captions, way.marks, strict=True)
        lines = [marked(caption, marks) for caption, marks in pairs]
    note = Html(f'<p class="note">{escape(way.note)}</p>') if way.note else ""
    shown = caption_list(lines) if lines or not way.note else ""
    return Html(f"<section><h4>{escape(way.title)}</h4>{shown}{note}</section>")


def _verdicts(every: Sequence[Verdict]) -> Html:
    return Html(f'<div class="verdicts">{join(map(_verdict, every))}</div>')


def _verdict(one: Verdict) -> Html:
    text = marked(shaded(one.shaded), one.marks)
    return Html(
        f'<section class="verdict"><h4>{escape(one.title)}</h4>'
        f'<p class="said-so" dir="auto">{text}</p>{_choices(one.chances)}</section>'
    )


def _choices(chances: Sequence[float | None]) -> Html:
    """The image and the others, and how probable each is held to be the one that is meant."""
    return Html(f'<div class="choices">{join(_choice(*pair) for pair in enumerate(chances))}</div>')


def _choice(place: int, chance: float | None) -> Html:
    who = f"other {place}" if place else "this"
    bar = Html("")
    if chance is not None:
        width = Html(f'<div class="bar"><i style="width:{100 * chance:.1f}%"></i></div>')
        bar = Html(f"{width}<span>{chance:.0%}</span> ")
    return Html(
        f'<figure class="choice{"" if place else " mine"}">'
        f'<div class="look" role="img" aria-label="{who}"'
        f' style="background-image:var(--look{place})"></div>{bar}'
        f"<figcaption>{who}</figcaption></figure>"
    )
