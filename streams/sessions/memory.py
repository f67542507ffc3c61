"""Memory for session state that grows without copying and is given back: reserved addresses, filled page by page.

An array as large as it may ever become costs nothing until it is written: the kernel hands out a page at the first
touch. So a table never moves, no copy doubles its memory for a moment, and dropping it gives everything back at once.
With a folder the pages belong to an unlinked file there, and the kernel may write them out when memory is short.
"""

import ctypes
import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.errors import SessionStateError

#: Linux's flag (asm-generic); Python's mmap names it from 3.13 on. Elsewhere the system overcommits anyway.
_NORESERVE = 0x4000 if hasattr(mmap, "MADV_HUGEPAGE") else 0
#: A machine that does not overcommit gets a smaller reservation, down to this.
_LEAST_BYTES = 1 << 26


def trim_heap() -> None:
    """Hand the C library's free memory back to the system, where it can: it keeps what was freed in between."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Reservation:
    """The arrays of one table. They live as long as anything refers to them; ``folder`` holds them in files."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._maps: list[mmap.mmap] = []
        self._huge = False

    def array(self, dtype: npt.DTypeLike, count: int) -> npt.NDArray[Any]:
        """Return ``count`` zeros (fewer where the system grants less) that take memory when they are first written.

        Raises SessionStateError when the system grants next to nothing.
        """
        kind = np.dtype(dtype)
        size = count * kind.itemsize
        while True:
            try:
                mapped = self._map(size)
                break
            except (OSError, ValueError) as error:
                if size <= _LEAST_BYTES:
                    where = "in memory" if self._folder is None else f"in {self._folder} (SIMPERSONA_STATE_DIR)"
                    raise SessionStateError(f"No room for session state {where}: {error}.") from error
                size //= 4
        self._maps.append(mapped)
        return np.frombuffer(mapped, kind, size // kind.itemsize)

    def _map(self, size: int) -> mmap.mmap:
        if self._folder is None:
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        with tempfile.TemporaryFile(dir=self._folder, prefix="sessions-") as file:
            file.truncate(size)
            return mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED)

    def use_huge_pages(self) -> None:
        """Ask for pages of 2 MiB from now on: state is read at random, and a large one outgrows the address cache."""
        if self._huge or self._folder is not None or not hasattr(mmap, "MADV_HUGEPAGE"):
            return
        self._huge = True
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_HUGEPAGE)
