"""The one shape in which every benchmark answers: machine, versions, figures with units, ratios, what is missing."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from agent_runtime.alignment.table import Estimate

_PACKAGES = (
    "simpersona-stream",
    "faust-streaming",
    "aiokafka",
    "fastavro",
    "numba",
    "numpy",
    "onnxruntime",
    "scikit-learn",
    "torch",
    "chdb",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    value: float
    unit: str


@dataclass(slots=True)
class Report:
    """Figures of one run. ``ratios`` compare figures of this run only; ``missing`` says why a figure is not there."""

    figures: dict[str, Figure] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: {name: version(name) for name in _PACKAGES})

    def add(self, name: str, value: float, unit: str) -> None:
        """Note one figure."""
        self.figures[name] = Figure(value, unit)

    def estimate(self, name: str, found: Estimate | None, unit: str) -> None:
        """Note a mean over storefronts and its interval, or that no storefront has it."""
        if found is None:
            self.missing[name] = "no storefront has support for it."
            return
        self.add(name, found.value, unit)
        self.add(f"{name}_low", found.low, unit)
        self.add(f"{name}_high", found.high, unit)

    def compare(self, name: str, over: str) -> None:
        """Note the ratio of two figures of this run as ``name/over``."""
        self.ratios[f"{name}/{over}"] = self.figures[name].value / self.figures[over].value

    def as_dict(self) -> dict[str, Mapping[str, object]]:
        """Return the report as plain JSON."""
        return {
            "machine": machine(),
            "versions": dict(self.versions),
            "figures": {name: {"value": figure.value, "unit": figure.unit} for name, figure in self.figures.items()},
            "ratios": dict(self.ratios),
            "missing": dict(self.missing),
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def print(self, console: Console, title: str) -> None:
        """Print the figures and ratios as a table."""
        table = Table(title=title)
        table.add_column("figure", overflow="fold")
        table.add_column("value", justify="right")
        table.add_column("unit")
        for name, figure in self.figures.items():
            table.add_row(name, f"{figure.value:,.2f}", figure.unit)
        for name, ratio in self.ratios.items():
            table.add_row(name, f"{ratio:,.2f}", "×")
        console.print(table)
        for name, reason in self.missing.items():
            console.print(f"No figure for {name}: {reason}", highlight=False, markup=False, soft_wrap=True)


def machine() -> dict[str, object]:
    """Return what the figures depend on: processor, cores, memory, kernel, Python."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
