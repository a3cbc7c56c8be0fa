"""Commands that README, the guides and the manuals show are ones that the library takes."""

import argparse
import importlib
import re
import tomllib

import pytest
from absl import flags
from ml_collections import config_flags
from pages import HOME, MANUALS, blocks, commands

SHOWN = [(page, *one) for page in MANUALS for one in commands(page)]
BY_RECIPE = ("train", "compile")  # absl's flags; the others' are argparse's
DEFINED = re.compile(r"DEFINE_\w+\(\s*\"(\w+)\"")


class Parsed(Exception):
    """The flags have been read; a command need go no further."""


def read_recipe(name: str, words: list[str]) -> None:
    """Reads flags as capjax.train and capjax.compile do, whose own can be defined only once."""
    source = (HOME / "capjax" / f"{name}.py").read_text()
    given = [name, *(word.replace("=configs/", f"={HOME}/configs/") for word in words)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=given)
    for flag in set(DEFINED.findall(source)) - {"config"}:
        flags.DEFINE_string(flag, None, "", values)
    rest = values(given)
    assert rest == [name], f"{rest[1:]} are no flags"
    assert values.config is not None


# ml_collections loads a recipe in a way that Python 3.12 has no more.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize("name", sorted({name for _, _, name, _ in SHOWN}))
def test_every_command_takes_the_flags_that_pages_show(name, monkeypatch):
    real = argparse.ArgumentParser.parse_args

    def parse(self, words):
        real(self, words)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    for page, line, shown, words in SHOWN:
        if shown != name:
            continue
        try:
            if name in BY_RECIPE:
                read_recipe(name, words)
            else:
                with pytest.raises(Parsed):
                    importlib.import_module(f"capjax.{name}").main(words)
        except (SystemExit, Exception) as error:
            raise AssertionError(f"{page}:{line}: {' '.join(words)}: {error!r}") from error


def test_all_commands_are_shown():
    assert {name for _, _, name, _ in SHOWN} >= {
        *("train", "evaluate", "compare", "caption", "compile"),
    }


def test_extras_and_scripts_that_pages_name_are_there():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    for page in MANUALS:
        for block in blocks(page):
            for extras in re.findall(r"pip install -e \"\.\[([\w,]+)\]\"", block.code):
                assert set(extras.split(",")) <= project["optional-dependencies"].keys(), page
            for script in re.findall(r"(?:python|bash|sbatch) ((?:\w+/)+[\w.]+)", block.code):
                assert (HOME / script).is_file(), (page, script)
