"""Types of any shape as a table of nodes, so that compiled code can pass over values that no column keeps.

A newer writer may add arrays, enums, nested records or wider unions to a record; its known fields must stay readable
without them. Source: https://avro.apache.org/docs/1.12.0/specification/ (schema declaration, names).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from schemas.errors import SimpersonaError
from schemas.events import I64

#: Kinds of nodes; the first eight are also the kinds of values that columns keep.
TEXT, LONG, INT, BOOL, BYTES, FLOAT, DOUBLE, TEXT_MAP, NULL, ENUM, FIXED, RECORD, UNION, ARRAY, MAP = range(15)

KIND_OF_TYPE = {
    "string": TEXT,
    "long": LONG,
    "int": INT,
    "boolean": BOOL,
    "bytes": BYTES,
    "float": FLOAT,
    "double": DOUBLE,
    "null": NULL,
}
#: Records, arrays and maps one inside the other, at most: types may contain themselves, room to read them is finite.
DEEPEST = 64


class UnsupportedSchemaError(SimpersonaError):
    """A writer schema is not a record, is damaged, or does not fit its reader."""


class Shapes:
    """Collects the nodes of one schema's types.

    A node is (kind, a, b): ENUM (symbols, 0), FIXED (bytes, 0), RECORD and UNION (first place in ``children``, how
    many), ARRAY and MAP (node of the items, 0), any other (0, 0).
    """

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace
        self._nodes: list[tuple[int, int, int]] = []
        self._children: list[int] = []
        self._named: dict[str, int] = {}

    def add(self, declared: Any) -> int:
        """Return the node of a type. Raises UnsupportedSchemaError, which shows the part that is wrong."""
        try:
            node = self._add(declared, self._namespace)
            self._check_items()
            return node
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UnsupportedSchemaError(f"{declared!r} is not an Avro type that can be read ({error!r}).") from error

    def tables(self) -> tuple[I64, I64]:
        """Return (k, 3) nodes and (c,) children, each at least one long so that compiled code always has an array."""
        nodes = np.array(self._nodes or [(NULL, 0, 0)], dtype=np.int64)
        return nodes, np.array(self._children or [0], dtype=np.int64)

    def _add(self, declared: Any, namespace: str) -> int:
        if isinstance(declared, list):
            return self._parent(self._reserve(), UNION, [self._add(branch, namespace) for branch in declared])
        if isinstance(declared, str):
            if declared in KIND_OF_TYPE:
                return self._leaf(KIND_OF_TYPE[declared])
            return self._named[_full_name(declared, namespace)]
        kind = declared["type"]
        if kind == "array":
            return self._leaf(ARRAY, self._add(declared["items"], namespace))
        if kind == "map":
            return self._leaf(MAP, self._add(declared["values"], namespace))
        if kind not in ("record", "error", "enum", "fixed"):
            return self._add(kind, namespace)
        name = _full_name(declared["name"], declared.get("namespace", namespace))
        # Known before its fields are, for they may name it.
        node = self._named[name] = self._reserve()
        if kind == "enum":
            self._nodes[node] = (ENUM, len(declared["symbols"]), 0)
        elif kind == "fixed":
            self._nodes[node] = (FIXED, int(declared["size"]), 0)
        else:
            inside = name.rpartition(".")[0]
            self._parent(node, RECORD, [self._add(field["type"], inside) for field in declared["fields"]])
        return node

    def _check_items(self) -> None:
        """Refuse arrays of items that take no room: a count alone could then keep us busy for ever."""
        if any(kind == ARRAY and self._takes_nothing(item) for kind, item, _ in self._nodes):
            raise ValueError("array of values without bytes")

    def _takes_nothing(self, node: int) -> bool:
        kind, a, b = self._nodes[node]
        if kind == RECORD:
            return all(self._takes_nothing(child) for child in self._children[a : a + b])
        return kind == NULL or (kind == FIXED and a == 0)

    def _reserve(self) -> int:
        return self._leaf(NULL)

    def _leaf(self, kind: int, a: int = 0) -> int:
        self._nodes.append((kind, a, 0))
        return len(self._nodes) - 1

    def _parent(self, node: int, kind: int, children: list[int]) -> int:
        self._nodes[node] = (kind, len(self._children), len(children))
        self._children += children
        return node


def _full_name(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def namespace_of(schema: Mapping[str, Any]) -> str:
    """Return a record schema's namespace."""
    return _full_name(schema.get("name", ""), schema.get("namespace", "")).rpartition(".")[0]
