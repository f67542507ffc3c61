"""The alert rules: PromQL that parses, metrics, labels and values that exist, and a sentence about what to do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from infra.cli.main import COMMANDS
from schemas.rejections import REASONS
from schemas.settings import Settings
from schemas.topics import SOURCE_OF_TOPIC
from streams.metrics import Metrics

pytestmark = pytest.mark.fast

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
#: Metric -> its labels; a histogram's buckets are metrics of their own.
METRICS: dict[str, set[str]] = {"up": {"job", "instance"}}
for metric in vars(Metrics()).values():
    if hasattr(metric, "_labelnames"):
        name, kind, labels = f"{metric._name}", metric._type, {*metric._labelnames, "job", "instance"}
        METRICS |= {name + "_total": labels} if kind == "counter" else {name: labels}
        METRICS |= {name + "_bucket": labels | {"le"}} if kind == "histogram" else {}
VALUES = {"job": {"worker"}, "outcome": {"accepted", "duplicate", "replayed", "rejected"}, "reason": set(REASONS)}
VALUES["topic"] = set(SOURCE_OF_TOPIC)


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("lhs", "rhs", "expr", "vector_selector", "vs"):
        if (inner := getattr(node, part, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", []) or []:
        yield from selectors(inner)


def test_what_must_ring_rings() -> None:
    assert {"LagGrowing", "NotProgressing", "EventTimeBehind", "RejectionShare", "StoreAway"} <= set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_what_workers_tell(name: str) -> None:
    expression = promql_parser.parse(RULES[name]["expr"])
    found = list(selectors(expression))
    assert {selector.name for selector in found} == set(re.findall(r"simpersona_\w+|\bup\b", RULES[name]["expr"]))
    for selector in found:
        known = METRICS[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in known
            assert matcher.value in VALUES[matcher.name]
    for grouped in re.findall(r"\b(?:by|on) \(([\w, ]+)\)", RULES[name]["expr"]):
        assert all(set(grouped.split(", ")) <= METRICS[selector.name] for selector in found)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert re.fullmatch(r"\d+m", rule.get("for", "0m"))
    told = rule["annotations"]
    assert set(told) == {"summary", "description"}
    assert all(sentence.endswith(".") for sentence in told.values())
    commands = re.findall(r"`simpersona (\w+)", told["description"])
    settings = re.findall(r"SIMPERSONA_(\w+)", told["description"])
    assert set(commands) <= set(COMMANDS) and {name.lower() for name in settings} <= set(Settings.model_fields)
    labels = set(re.findall(r"\$labels\.(\w+)", told["summary"]))
    assert all(labels <= METRICS[selector.name] for selector in selectors(promql_parser.parse(rule["expr"])))


def test_prometheus_loads_the_rules_and_the_container_has_them() -> None:
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    assert "./infra/prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in compose["services"]["prometheus"]["volumes"]
