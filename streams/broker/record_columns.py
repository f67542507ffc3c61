"""Keys and values of records in columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.slices import Rows, Slices

#: One record: key and value; a value of None is a tombstone.
Record = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """``n`` records: their keys and their values."""

    keys: Slices
    values: Slices

    @staticmethod
    def of(records: Sequence[Record]) -> "Records":
        """Return these records."""
        return Records(Slices.of([key for key, _ in records]), Slices.of([value for _, value in records]))

    @staticmethod
    def joined(parts: Sequence["Records"]) -> "Records":
        """Return several lots of records (one or more), one after another."""
        return Records(Slices.joined([part.keys for part in parts]), Slices.joined([part.values for part in parts]))

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, rows: Rows) -> "Records":
        """Return some of the records, on the same buffers."""
        return Records(self.keys.at(rows), self.values.at(rows))

    def tolist(self) -> list[Record]:
        """Return them as objects."""
        return list(zip(self.keys.tolist(), self.values.tolist(), strict=True))
