"""Settings that travel together are one value, and are checked where it is made.

A dataclass of settings says of each field what it may be: `batch: Annotated[int, FROM_1]`.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from capjax.errors import InputError

Settings = TypeVar("Settings")


class Range(NamedTuple):
    """What a number may be."""

    holds: Callable[[Any], bool]
    words: str


class OneOf(NamedTuple):
    """The names that a setting may be."""

    names: Sequence[str]


ABOVE_0 = Range(lambda x: 0 < x < math.inf, "above 0")
FROM_0 = Range(lambda x: 0 <= x < math.inf, "at least 0")
FROM_1 = Range(lambda x: x >= 1, "at least 1")
BELOW_1 = Range(lambda x: 0 <= x < 1, "at least 0 and below 1")
SHARE = Range(lambda x: 0 <= x <= 1, "from 0 to 1")


def read(kind: type[Settings], given: Mapping[str, Any], prefix: str) -> Settings:
    """Makes a dataclass of settings, and those within it.

    Names that it does not have are left, but for a `closed` one, which refuses them.

    Args:
      prefix: what stands before a name when it is told of, such as "config.mle.".
    Raises:
      InputError: a setting is missing or not what it may be, naming it.
    """
    check_names(prefix[:-1], given)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, field in fields.items():
        if name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise lacking(prefix + name)
    if getattr(kind, "closed", False) and (more := [name for name in given if name not in fields]):
        raise InputError(f"there is no setting {prefix}{more[0]}; choose from {', '.join(fields)}")
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for name, value in given.items():
        if name in fields:
            hint = hints[name]
            if dataclasses.is_dataclass(hint):
                value = read(hint, value, f"{prefix}{name}.")  # type: ignore[arg-type]
            elif get_origin(hint) is Mapping:
                check_names(prefix + name, value)
            elif get_origin(hint) is Annotated:
                check(prefix + name, value, get_args(hint)[1])
            values[name] = value
    return kind(**values)


def check(name: str, value: Any, allowed: Range | OneOf) -> None:
    """Raises InputError, naming a setting, where it is not what it may be."""
    if isinstance(allowed, OneOf):
        if value not in allowed.names:
            raise InputError(f"{name}={value!r} must be one of {', '.join(allowed.names)}")
    elif not isinstance(value, numbers.Real) or not allowed.holds(value):
        raise InputError(f"{name}={value} must be {allowed.words}")


def check_names(name: str, value: Any) -> None:
    """Raises InputError, naming it, where what should be settings by their names is not."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name}={value!r} must be settings by their names")


def lacking(name: str) -> InputError:
    """What is said of a recipe that lacks a setting."""
    return InputError(
        f"the recipe has no setting {name}; start from a file of configs/, which has them all"
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
