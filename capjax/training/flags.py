"""A recipe as it is given on the command line: `--config=FILE[:DATASET] [--config.x=y]`."""

import sys
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from capjax.command import tell
from capjax.errors import InputError


def recipe_of(argv: Any, config: Any) -> dict[str, Any]:
    """The recipe of a flag that `config_flags.DEFINE_config_file` defined, as nested settings.

    Args:
      argv: what is left of the command line when flags are taken out.
    Raises:
      InputError: something that is no flag, or a file that is none or makes no recipe.
    """
    if len(argv) > 1:
        raise InputError(f"{argv[1]!r} is no flag; settings are given as --config.x=y")
    try:
        if not isinstance(recipe := config.value, ConfigDict):
            raise InputError("get_config() of the file of --config must return a ConfigDict")
        found = recipe.to_dict()
    except OSError as error:  # where --config names no file, this is when it is told
        why = " ".join(str(error).split()).partition("Attempted ")[2]
        raise InputError(f"the recipe of --config cannot be loaded: {why or error}") from error
    found["stages"] = list(found.get("stages", ()))
    return found


def parse(argv: Any) -> list[str]:
    """Reads the flags; the recipe is read with them. Ends the command where one is wrong."""
    try:
        return flags.FLAGS(argv)
    except AttributeError as error:
        if "get_config" in str(error):
            sys.exit(tell("the file of --config has no get_config(), which makes the recipe", 2))
        name = str(error).strip("\"'")
        sys.exit(tell(f"the recipe has no setting {name!r}; the file of --config names them", 2))
    except (flags.Error, OSError, ImportError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(tell(" ".join(str(error).split()), 2))
    except Exception as error:  # whatever the recipe's own code raises
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        sys.exit(tell(f"the recipe of --config cannot be loaded: {told}; correct the file", 2))
