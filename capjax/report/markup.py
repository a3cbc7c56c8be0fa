"""What may go onto a page as it is? Only Html; all other text is escaped first."""

import html
import re
from collections.abc import Iterable

# Control characters but tab and newline, lone surrogates, and what Unicode says is no character.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane * 0x10000 + low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)


class Html(str):
    """Text that is HTML already: every piece of a report is, and `escape` leaves it as it is."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Any value as text that a browser shows as just that, in an element or a quoted attribute.

    Control characters become their pictures (NUL is shown as U+2400), or U+FFFD where they have
    none. What is Html already stays as it is.
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(_UNPRINTABLE.sub(_picture, str(value)), quote=True))


def join(parts: Iterable[object], between: str = "\n") -> Html:
    """The parts one after the other, each escaped unless it is Html; between is escaped too."""
    return Html(escape(between).join(escape(part) for part in parts))


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
