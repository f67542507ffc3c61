"""The model card says what the encoder does, to people, without anything from afar."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoders.calibration import fits_calibration
from encoders.card import HTML_FILE, MARKDOWN_FILE, card_documents
from encoders.card_facts import CardFacts, card_facts
from encoders.fitting import provenance
from encoders.serving import Encoder
from schemas.events import SessionBatch


@pytest.fixture(scope="module")
def fields(small: Any) -> dict[str, Any]:
    return {"metrics": small.fitted.metrics, **provenance(small.trained, small.training)}


@pytest.fixture(scope="module")
def documents(small: Any, fields: dict[str, Any]) -> dict[str, str]:
    hostile = ("shop <script>alert(1)</script> | $x", *small.training.merchants[1:])
    logs = (replace(log, merchants=hostile) for log in (small.training, small.held_out))
    return dict(card_documents(small.fitted, *logs, fields)("cb-0123456789"))


@pytest.fixture(scope="module")
def facts(small: Any) -> CardFacts:
    return card_facts(Encoder(small.fitted.network, small.fitted.codebook, "x"), small.training, small.held_out, 0)


def test_every_type_is_told_of_in_both(small: Any, documents: dict[str, str]) -> None:
    for text in documents.values():
        assert "cb-0123456789" in text
        for persona in small.fitted.personas["coarse"]:
            assert persona["name"] in text
            assert persona["sentence"] in text
    for persona in small.fitted.personas["codes"]:
        assert persona["sentence"] in documents[HTML_FILE]


def test_the_page_loads_nothing(documents: dict[str, str]) -> None:
    page = documents[HTML_FILE]
    loaded = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)|url\(([^)]*)\)", page)
    assert all((one or other).startswith(("#", "data:image/png;base64,")) for one, other in loaded)
    assert not re.search(r"<script|<link|<iframe|@import", page)
    assert page.count("<svg") == 4
    assert len(page) < 600_000


def test_a_merchant_cannot_write_into_the_card(documents: dict[str, str]) -> None:
    assert "&lt;script&gt;" in documents[HTML_FILE]
    assert r"shop &lt;script>alert(1)&lt;/script> \| $x" in documents[MARKDOWN_FILE]


def test_tables_of_the_text_are_whole(documents: dict[str, str]) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", documents[MARKDOWN_FILE], flags=re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1, table


def test_equal_encoders_have_equal_cards(small: Any, fields: dict[str, Any]) -> None:
    one, other = (card_documents(small.fitted, small.training, small.held_out, fields)("cb-1") for _ in range(2))
    assert one == other


def test_early_codes_are_those_of_beginnings_beside_the_final_ones(small: Any, facts: CardFacts) -> None:
    log = small.held_out
    encoder = Encoder(small.fitted.network, small.fitted.codebook, "x")
    final = encoder.encode(log.batch()).code
    assert [reading.events for reading in facts.prefixes] == [2, 3, 5, 10]
    for reading in facts.prefixes:
        rows = np.flatnonzero((log.lengths >= reading.events) & ~fits_calibration(log.key))
        shown = np.full(len(rows), reading.events)
        cut = replace(log.select(rows), lengths=shown).batch()
        codes = encoder.encode(SessionBatch(cut.events, cut.offsets), still_open=np.ones(len(rows), np.bool_))
        right = codes.code == final[rows]
        assert reading.sessions == len(rows)
        assert reading.final == pytest.approx(right.mean())
        assert reading.final_type == pytest.approx((codes.code // 2 == final[rows] // 2).mean())
        assert reading.confidence == pytest.approx(codes.confidence.mean(), rel=1e-5)
        means = np.array(reading.bins)
        assert (np.diff(means[:, 0]) >= 0).all()


def test_mixes_usage_and_map_add_up(small: Any, facts: CardFacts) -> None:
    assert facts.usage.sum() == pytest.approx(1.0)
    assert sum(mix.sessions for mix in facts.mixes) == len(small.training) + len(small.held_out)
    assert {mix.merchant for mix in facts.mixes if mix.held_out} == {
        small.held_out.merchants[index] for index in np.unique(small.held_out.merchant)
    }
    assert all(mix.shares.sum() == pytest.approx(1.0) for mix in facts.mixes)
    first, second = facts.map.explained
    assert 1.0 > first >= second > 0.0
    spread = facts.map.points.var(axis=0)
    assert spread[0] >= spread[1]


def test_what_speaks_against_an_encoder_is_said(small: Any, fields: dict[str, Any]) -> None:
    worse = replace(
        small.fitted,
        metrics={**small.fitted.metrics, "calibration_error": 0.2, "perplexity": 2.0, "codes_in_use": 3,
                 "same_buyer_agreement": None},
    )  # fmt: skip
    data = {**fields["training_data"], "merchants": 2}
    text = card_documents(worse, small.training, small.held_out, {**fields, "training_data": data})("cb-1")[
        MARKDOWN_FILE
    ]
    for sentence in (
        "Confidence is off by 0.200 on average (aim: 0.05).",
        "Only 3 of 12 codes occur: fewer codes would do.",
        "A few codes hold most sessions: perplexity 2.0 of 12.",
        "No buyer came twice",
        "Few merchants (2)",
    ):
        assert f"> **Mind:** {sentence}" in text
