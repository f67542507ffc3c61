"""Assignments as a Parquet file with the columns of ``session_assignments``."""

from pathlib import Path
from types import TracebackType

import pyarrow.parquet as pq

from schemas.assignments import AssignmentBatch
from streams.errors import AssignmentLogError
from streams.store.tables import SCHEMAS, assignment_table


class AssignmentLogWriter:
    """Writes one file; use it as a context manager.

    Rows go to a hidden file beside ``path`` that takes its name only when the block ends well. Raises
    AssignmentLogError when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")

    def __enter__(self) -> "AssignmentLogWriter":
        if self.path.is_dir():
            raise AssignmentLogError(f"{self.path}: is a folder; name a file to write the assignments to.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(self._part, SCHEMAS["session_assignments"], compression="zstd")
        except OSError as error:
            raise self._refused(error) from error
        return self

    def write(self, batch: AssignmentBatch) -> None:
        """Append the rows of a batch."""
        try:
            self._parquet.write_table(assignment_table(batch))
        except OSError as error:
            raise self._refused(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._parquet.close()
            if error is None:
                self._part.replace(self.path)
        except OSError as failure:
            raise self._refused(failure) from failure
        finally:
            self._part.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> AssignmentLogError:
        return AssignmentLogError(
            f"{self.path}: cannot be written ({error.strerror or error}); choose another place or free some space."
        )
