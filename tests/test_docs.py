"""Documentation that cannot rot: links lead somewhere, commands exist, README's make targets are in the Makefile."""

import re
from pathlib import Path

import pytest

from infra.cli.main import COMMANDS

pytestmark = pytest.mark.fast
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_in_the_docs_exists(page: Path) -> None:
    named = set(re.findall(r"(?:\.venv/bin/|`)simpersona ([a-z]+)", page.read_text()))
    assert named <= set(COMMANDS)


def test_the_readme_names_every_command_of_a_first_day() -> None:
    named = set(re.findall(r"simpersona ([a-z]+)", (ROOT / "README.md").read_text()))
    assert {"import", "train", "assign", "up", "worker", "replay", "distribution", "simulate", "doctor"} <= named


def test_make_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text())) <= targets
