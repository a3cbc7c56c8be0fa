"""How does a page show a paragraph? Its sentences in a row, with what is false in each."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from capjax.report.gallery import counted, untrue
from capjax.report.markup import Html, join

Faults = Callable[[str], Collection[int] | None]  # which words of a sentence make it false


def paragraph(sentences: Sequence[str], false: Faults = lambda text: ()) -> Html:
    """The sentences of a paragraph, each beginning with a capital as in print.

    false: which words of a sentence, of its `split()`, make it false; None where all of it does.
    """
    return _within([_sentence(text, false(text)) for text in sentences])


def paragraph_variants(
    paragraphs: Sequence[Sequence[str]], false: Faults = lambda text: ()
) -> list[Html]:
    """Paragraphs drawn of one image: equal ones become one with their number, most frequent first,
    and sentences that more than half of them have are pale."""
    split = [tuple(sentences) for sentences in paragraphs]
    having = Counter(text for sentences in split for text in set(sentences))

    def shown(text: str) -> Html:
        sentence = _sentence(text, false(text))
        if 2 * having[text] <= len(split):
            return sentence
        return Html(f'<span class="shared">{sentence}</span>')

    return counted(split, lambda sentences: _within([*map(shown, sentences)]))


def _sentence(text: str, false: Collection[int] | None) -> Html:
    text = text[:1].upper() + text[1:]
    if false is None:
        return untrue(text)
    words = enumerate(text.split())
    return join((untrue(word) if i in false else word for i, word in words), " ")


def _within(sentences: Sequence[Html]) -> Html:
    if not sentences:
        return Html('<span class="nothing">(no words)</span>')
    return Html(f'<span class="paragraph">{join(sentences, " ")}</span>')
