"""How griffe, which reads docstrings for the site, is to read ours."""

import re
from typing import Any

import griffe

SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Returns|Yields|Raises):\n)")
RETURNS = re.compile(r"(?<=\nReturns:\n).+")
CODE = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


class HouseStyle(griffe.Extension):
    """Sections follow without a blank line, and a field is described by the comment beside it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if not obj.docstring:
            return
        said = SECTION.sub("\n\n", obj.docstring.value)
        if obj.is_class and ("dataclass" in obj.labels or named_tuple(obj)):
            said += fields(obj)
        obj.docstring.value = plain(RETURNS.sub(untyped, said))


def named_tuple(obj: griffe.Class) -> bool:
    return any(str(base).endswith("NamedTuple") for base in obj.bases)


def untyped(line: re.Match[str]) -> str:
    """The first line of what is returned, whose colon parts no type from a text."""
    parts = CODE.split(line[0])
    parts[::2] = [part.replace(":", "&#58;") for part in parts[::2]]
    return "".join(parts)


def plain(said: str) -> str:
    """Text as it is written: <f(I), h(S)> is no HTML, and [M][R] no link."""
    parts = CODE.split(said)
    parts[::2] = [part.replace("<", "&lt;").replace("][", "]&#91;") for part in parts[::2]]
    return "".join(parts)


def fields(obj: griffe.Class) -> str:
    """A section of what comments say of the fields of a class.

    They stand beside the field, and on lines of their own after it in a NamedTuple, before it in a
    dataclass.
    """
    found = []
    for one in obj.members.values():
        if one.is_attribute and one.lineno and "property" not in one.labels:
            told = beside(one, after=named_tuple(obj))
            # What is said of no field is left to the signature, which a NamedTuple has not.
            found += [f"    {one.name}: {told}"] if told or named_tuple(obj) else []
    return "\n\nAttributes:\n" + "\n".join(found) if found else ""


def beside(field: griffe.Attribute, after: bool) -> str:
    lines = field.lines_collection[field.filepath]
    first, last = field.lineno - 1, field.endlineno
    while after and lines[last : last + 1] and lines[last].lstrip().startswith("# "):
        last += 1
    while not after and lines[first - 1].lstrip().startswith("# "):
        first -= 1
    return " ".join(line.partition("# ")[2].strip() for line in lines[first:last]).strip()
