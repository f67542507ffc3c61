"""Where compiled loops are kept: a folder named by the sources they were made from.

numba's own cache looks only at the file of the outermost function: a constant or a callee changed in another file (an
upgrade in place, a ``git pull``) leaves old machine code running without a word. Imported first by every package that
compiles anything; an environment variable NUMBA_CACHE_DIR that is already set is left alone.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = ("schemas", "encoders", "streams", "agent_runtime")
_OWN_IMPORT = re.compile(rb"^from ((?:schemas|encoders|streams|agent_runtime)[.\w]*) import", re.MULTILINE)


def kernel_sources(root: Path) -> list[Path]:
    """Return every module below ``root`` that compiles something, and every one of ours that such a module imports."""

    def compiling() -> Iterator[tuple[Path, bytes]]:
        for package in _PACKAGES:
            for path in (root / package).rglob("*.py"):
                text = path.read_bytes()
                if b"import numba" in text:
                    yield path, text

    found: set[Path] = set()
    for path, text in compiling():
        found.add(path)
        found |= {root.joinpath(*name.decode().split(".")).with_suffix(".py") for name in _OWN_IMPORT.findall(text)}
    return sorted(path for path in found if path.is_file())


def use_kernel_cache() -> None:
    """Point numba at the folder of these sources, inside the virtual environment if that can be written."""
    if "NUMBA_CACHE_DIR" in os.environ or not os.access(sys.prefix, os.W_OK):
        return
    digest = hashlib.sha256()
    for path in kernel_sources(Path(__file__).parents[1]):
        digest.update(path.read_bytes())
    os.environ["NUMBA_CACHE_DIR"] = str(Path(sys.prefix) / "var" / "kernels" / digest.hexdigest()[:16])


use_kernel_cache()
