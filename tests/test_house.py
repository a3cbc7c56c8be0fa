"""The rooms of the library, and that imports point one way between them."""

import ast
from pathlib import Path

import pytest

import capjax

HOME = Path(capjax.__file__).parent
CONTRACTS = {"errors", "agreement", "settings", "speaker", "judging", "teacher_forcing"}
COMMANDS = {"caption", "compare", "compile", "demo", "evaluate", "train"}
# What a room may import of the library beside the contracts; a room that is not named here, all
# but the commands.
MAY = {
    "files": set(),
    "report": set(),
    "parallel": set(),
    "terminal": set(),
    "command": {"files", "data", "parallel"},
    "data": {"files", "parallel", "terminal"},
    "metrics": {"data", "terminal"},
    "models": {"data"},
    "decoding": {"parallel"},
    "objectives": {"decoding", "metrics"},
    "run": {"files", "data", "decoding", "models", "parallel"},
    "comparison": {"files", "data", "decoding", "report", "run"},
    "evaluation": {
        *("files", "parallel", "data", "metrics", "models", "decoding", "report"),
        *("run", "comparison", "terminal"),
    },
    "page": {
        *("files", "data", "models", "decoding", "report", "run", "evaluation"),
    },
    "training": {
        *("files", "parallel", "data", "metrics", "models", "decoding", "report"),
        *("objectives", "run", "comparison", "evaluation", "command", "terminal"),
    },
}
FILES = sorted(HOME.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules of capjax that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("capjax"):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            files = [name for name in whole if (HOME.parent / name.replace(".", "/")).exists()]
            files += [name for name in whole if file_of(name).exists()]
            found |= set(files or [node.module])
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("capjax")}
    return found


def file_of(module: str) -> Path:
    path = HOME.parent / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room_of(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


ROOMS = {room_of(path) for path in FILES}


def used_by(room: str) -> set[str]:
    """The rooms that a room imports."""
    modules = [name for path in FILES if room_of(path) == room for name in imported(path)]
    return {room_of(file_of(name)) for name in modules} - {room}


USES = {room: used_by(room) for room in ROOMS}


def floors() -> dict[str, int]:
    """On which floor each room stands, one above all that it imports; rooms in a circle on none."""
    found: dict[str, int] = {}
    while ready := [room for room in USES if room not in found and USES[room] <= found.keys()]:
        found |= {room: 1 + max((found[one] for one in USES[room]), default=0) for room in ready}
    return found


def test_few_files_stand_at_the_top_and_rooms_on_few_floors():
    assert len(list(HOME.glob("*.py"))) <= 14
    assert floors().keys() == ROOMS  # no circle
    assert max(floors().values()) <= 10
    for name in COMMANDS:
        assert len((HOME / f"{name}.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("room", sorted(ROOMS - {"__init__"}))
def test_a_room_imports_what_it_may(room):
    allowed = MAY.get(room, ROOMS - COMMANDS - {"__init__"})
    if room in CONTRACTS:
        allowed = set()
    assert USES[room] <= allowed | CONTRACTS


def test_no_file_imports_itself_by_way_of_others():
    uses = {path: {file_of(name) for name in imported(path)} - {path} for path in FILES}
    left = dict(uses)
    while ground := [path for path, found in left.items() if not found & left.keys()]:
        for path in ground:
            del left[path]
    assert not left
