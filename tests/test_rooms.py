"""The order of rooms that a package's docstring draws is the order in which they use each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def rooms_of(package: str) -> list[str]:
    """Return the rooms that the package's docstring names, from the ground up."""
    text = ast.get_docstring(ast.parse((REPOSITORY / package / "__init__.py").read_text())) or ""
    return [line.split("/")[0].strip() for line in text.splitlines() if line.startswith("    ")]


def used_by(room: Path) -> Iterator[tuple[str, str]]:
    """Yield each module of a room with each room of the same package that it imports from."""
    for path in room.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.module.split(".") if isinstance(node, ast.ImportFrom) and node.module else []
            if len(parts) > 1 and parts[0] == room.parent.name and (room.parent / parts[1]).is_dir():
                yield path.name, parts[1]


@pytest.mark.fast
@pytest.mark.parametrize("package", ["streams", "agent_runtime"])
def test_a_room_uses_only_those_that_are_named_above_it(package: str) -> None:
    rooms = rooms_of(package)
    assert set(rooms) == {path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")}
    for place, room in enumerate(rooms):
        above = rooms[: place + 1]
        upwards = [(module, used) for module, used in used_by(REPOSITORY / package / room) if used not in above]
        assert not upwards, f"{room}/ uses rooms that are built on it"
