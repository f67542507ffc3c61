"""Compiled code is kept under a name that changes with everything it was made from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.avro_walk import walk
from schemas.click_codec import ClickDecoder, encode_watermark
from schemas.events import EVENT
from schemas.kernel_cache import kernel_sources
from schemas.slices import Slices

pytestmark = pytest.mark.fast
ROOT = Path(__file__).parents[2]


def test_constants_that_kernels_import_are_among_the_sources() -> None:
    names = {str(path.relative_to(ROOT)) for path in kernel_sources(ROOT)}
    assert {"schemas/hashing.py", "schemas/taxonomy.py", "encoders/feature_spec.py", "streams/sessions/cut.py"} <= names
    assert "schemas/settings.py" not in names


def test_a_changed_constant_changes_the_sources(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "limits.py").write_text("LIMIT = 1\n")
    (tmp_path / "schemas" / "kernel.py").write_text("import numba as nb\nfrom schemas.limits import LIMIT\n")
    (tmp_path / "schemas" / "other.py").write_text("x = 1\n")
    assert [path.name for path in kernel_sources(tmp_path)] == ["kernel.py", "limits.py"]


@pytest.mark.parametrize("package", ["schemas", "encoders", "streams", "agent_runtime"])
def test_every_compiling_package_sets_the_folder_before_numba_is_loaded(package: str) -> None:
    program = f"import sys, {package}; assert 'numba' not in sys.modules; import numba; print(numba.config.CACHE_DIR)"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    ).stdout
    assert "kernels" in shown


def test_bytes_that_may_be_written_are_read_by_the_same_loop_as_those_that_may_not() -> None:
    sent = Slices.of([encode_watermark(1_700_000_000_000)])
    put_together = Slices(sent.data.copy(), sent.starts, sent.lengths)
    assert put_together.data.flags.writeable and not sent.data.flags.writeable
    decoder, kinds = ClickDecoder(), []
    for values in (sent, put_together):
        assert decoder.decode(values).watermark_ms == 1_700_000_000_000
        kinds.append(list(walk.signatures))
    assert kinds[0] == kinds[1] != []


def test_joined_events_are_of_the_type_of_their_parts() -> None:
    assert np.concatenate([np.zeros(1, EVENT), np.zeros(1, EVENT)]).dtype == EVENT
