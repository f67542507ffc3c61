"""`python -m infra.web`, the entrypoint of the web container: what cannot be meant is one sentence and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from encoders.generator.catalogue import CATALOGUE_SCHEMA

DEADLINE_S = 60


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CATALOGUE", "nowhere.parquet", "error: nowhere.parquet is no catalogue with the columns merchant_id, "),
        ("CATALOGUE", "empty.parquet", "error: empty.parquet holds no product; `simpersona generate` writes a catalog"),
        ("GAP_MS", "soon", "error: Setting SIMPERSONA_GAP_MS has the value 'soon': "),
    ],
)
def test_a_bad_setting_or_catalogue_is_one_sentence_and_exit_code_2(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    pq.write_table(CATALOGUE_SCHEMA.empty_table(), tmp_path / "empty.parquet")
    repository = str(Path(__file__).parents[3])
    ended = subprocess.run(
        [sys.executable, "-m", "infra.web", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": repository, f"SIMPERSONA_{name}": value},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(sentence) and ended.stderr.count("\n") == 1
