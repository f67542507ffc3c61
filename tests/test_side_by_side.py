"""Tests in several processes: those of one file must stay in one, or each process makes the file's fixtures again."""

import os

import pytest

pytestmark = pytest.mark.fast


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="These tests run in one process.")
def test_the_group_of_a_file_reaches_what_deals_the_tests_out(request: pytest.FixtureRequest) -> None:
    # Nothing fails when it does not: pytest 9.2 and pytest-xdist 3.8 dealt every test out alone.
    group = request.node.path.relative_to(request.config.rootpath).as_posix()
    assert request.node.nodeid.endswith(f"@{group}")
