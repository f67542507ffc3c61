"""The command line, run in the test's own process."""

import pytest

from infra.cli.main import main


def ends(code: int, arguments: list[str]) -> None:
    """Run the command line and expect this exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code
