"""What the simulated buyers have to reach on storefronts never seen, line by line, and whether they do."""

from dataclasses import dataclass

from rich.table import Table

from agent_runtime.alignment.table import AlignmentTable, Estimate

VALUE, SHARE, ABOVE = "value", "share of", "above"


@dataclass(frozen=True, slots=True)
class Target:
    """One line: a measure of a condition by itself, as a share of another condition, or above it."""

    measure: str
    condition: str
    kind: str
    other: str = ""
    must: float = float("nan")
    aim: float = float("nan")
    at_least: bool = True

    @property
    def name(self) -> str:
        """Return the line's words."""
        return " ".join(
            part for part in (self.measure, self.condition, self.kind * (self.kind != VALUE), self.other) if part
        )

    def measured(self, table: AlignmentTable) -> Estimate | None:
        """Return the line's figure, None when it was not measured."""
        match self.kind:
            case "share of":
                return table.share(self.condition, self.other, self.measure)
            case "above":
                return table.above(self.condition, self.other, self.measure)
        return table.mean(self.condition, self.measure)

    def verdict(self, value: float) -> str:
        """Return what a figure reaches: aim, must, or missed; empty where nothing is asked."""
        sign = 1.0 if self.at_least else -1.0
        if sign * value >= sign * self.aim:
            return "aim"
        if sign * value >= sign * self.must:
            return "must"
        return "missed" if self.must == self.must or self.aim == self.aim else ""


TARGETS: tuple[Target, ...] = (
    Target("ara_g", "persona", VALUE, must=0.787),
    Target("ara_g", "persona", SHARE, "floor", 0.92, 0.98),
    Target("ara_s", "persona", SHARE, "floor", 0.92, 0.97),
    Target("ara_t", "persona", SHARE, "floor", 0.92, 0.97),
    Target("ara_g", "persona", ABOVE, "mismatched", 0.18, 0.21),
    Target("ara_g", "persona", ABOVE, "other_mix"),
    Target("ara_g", "persona", ABOVE, "uniform"),
    Target("ara_g", "persona", ABOVE, "no_persona", 0.07, 0.10),
    Target("ara_g", "persona", ABOVE, "eightfold", 0.07, 0.10),
    Target("conversion", "persona", VALUE, must=0.78),
    Target("conversion", "persona", SHARE, "floor", 0.93, 0.97),
    Target("ara_g", "persona", ABOVE, "replay", -0.02, 0.02),
    Target("conversion", "persona", ABOVE, "replay", -0.02),
    Target("depth_w1", "persona", SHARE, "floor", 2.0, 1.2, at_least=False),
    Target("ara_g", "earlier", SHARE, "earlier_floor", 0.88, 0.92),
    Target("log_loss_saved", "earlier", VALUE, "", 0.35, 0.42),
    Target("ara_g", "first_three", VALUE, "", aim=0.80),
    Target("ara_g", "first_three", ABOVE, "no_persona", 0.0),
    Target("log_loss_saved", "first_three", VALUE, "", 0.0),
    Target("own_type", "persona", VALUE, "", 0.80, 0.88),
    Target("round_trip_js", "persona", VALUE, "", 0.02, 0.01, at_least=False),
)


def targets_table(table: AlignmentTable) -> Table:
    """Return the targets with what was measured, for the console."""
    shown = Table("measure", "measured", "95 %", "must", "aim", "reaches", title="what was to be shown")
    for target in TARGETS:
        found = target.measured(table)
        asked = [f"{bound:.3f}" if bound == bound else "" for bound in (target.must, target.aim)]
        if found is None:
            shown.add_row(target.name, "not measured", "", *asked, "")
        else:
            interval = f"{found.low:.3f} to {found.high:.3f}"
            shown.add_row(target.name, f"{found.value:.3f}", interval, *asked, target.verdict(found.value))
    return shown
