"""Whatever is public is described, and stands on a page of the reference."""

import ast
import importlib
import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

import pytest
from pages import HOME, PAGES, blocks

import capjax

REFERENCE = sorted((HOME / "docs" / "reference").glob("*.md"))
# Rooms whose functions say of each what comes back, with its shape.
DESCRIBED = ("decoding", "judging", "metrics", "speaker")
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.M)


def found(path: str) -> Any:
    """What a dotted name leads to."""
    head, _, name = path.rpartition(".")
    try:
        owner = importlib.import_module(head)
    except ModuleNotFoundError:  # losses, which is called by another name where it lies
        owner = found(head)
    return getattr(owner, name)


SHOWN = {name: found(name) for page in REFERENCE for name in DIRECTIVE.findall(page.read_text())}


def public() -> Iterator[str]:
    """The names of the API, and those that README and the guides import beside."""
    yield from (f"capjax.{name}" for name in capjax.__all__)
    yield from (f"capjax.metrics.{name}" for name in capjax.metrics.__all__)
    for name, one in vars(capjax.losses).items():
        if getattr(one, "__module__", "") == capjax.losses.__name__:
            yield f"capjax.losses.{name}"
    for page in PAGES:
        for block in blocks(page):
            for node in ast.walk(ast.parse(block.code if block.language == "python" else "")):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("capjax"):
                    yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", sorted(set(public())))
def test_a_public_name_stands_on_a_page_of_the_reference(name):
    one = found(name)
    if isinstance(one, int):  # which has no docstring: a page says what it is
        assert any(f"`{name}`" in page.read_text() for page in REFERENCE)
    else:
        assert isinstance(one, types.ModuleType) or any(one is x for x in SHOWN.values())


def described(docstring: str) -> list[str]:
    """The names in a docstring's section of arguments; "a, b: of both" names two."""
    section = re.search(r"^Args:\n((?:  .*\n?|\n)+)", inspect.cleandoc(docstring), re.M)
    lines = re.findall(r"^  (\w[\w, ]*):", section[1] if section else "", re.M)
    return [name for line in lines for name in line.split(", ")]


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_the_reference_shows_has_a_docstring_of_its_own_arguments(name):
    one = SHOWN[name]
    parts = [one]
    if inspect.isclass(one):
        parts += [part for n, part in vars(one).items() if n[0] != "_" and callable(part)]
    for part in parts:
        assert (part.__doc__ or "").strip()
        assert not part.__doc__.startswith(f"{getattr(part, '__name__', '')}(")  # made by Python
        if not inspect.isclass(part):
            assert set(described(part.__doc__)) <= set(inspect.signature(part).parameters), part
    if inspect.isfunction(one) and one.__module__.split(".")[1] in DESCRIBED:
        assert "Returns:" in one.__doc__
    # The site would show the module.
    assert not (HOME / name.replace(".", "/")).with_suffix(".py").exists()
