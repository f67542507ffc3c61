from typing import Any

import numpy as np
import pytest

from encoders.personas import describe
from schemas.taxonomy import EVENT_CODES


def test_shares_add_up_and_names_are_unlike(small: Any) -> None:
    personas = small.fitted.personas
    for level in ("coarse", "codes"):
        assert sum(persona["share"] for persona in personas[level]) == pytest.approx(1.0, abs=1e-4)
        names = [persona["name"] for persona in personas[level]]
        assert len(set(names)) == len(names)
        assert all(2 <= len(name.split()) <= 6 for name in names)


def test_statistics_are_those_of_the_codes_own_sessions(small: Any) -> None:
    log = small.training
    codes = (log.key % np.uint64(12)).astype(np.int32)
    personas = describe(small.fitted.codebook, log, codes)
    for persona in personas["codes"]:
        own = np.flatnonzero(codes == persona["code"])
        statistics = persona["statistics"]
        assert statistics["sessions"] == len(own)
        assert persona["share"] == pytest.approx(len(own) / len(log), abs=1e-5)
        assert statistics["events_mean"] == pytest.approx(log.lengths[own].mean(), rel=1e-3)
        bought = [
            (
                log.events["event"][log.starts[i] : log.starts[i] + log.lengths[i]] == EVENT_CODES["checkout_completed"]
            ).any()
            for i in own
        ]
        assert statistics["conversion_rate"] == pytest.approx(np.mean(bought), abs=1e-3)


def test_a_code_without_sessions_says_so(small: Any) -> None:
    personas = describe(small.fitted.codebook, small.training, np.zeros(len(small.training), np.int32))
    assert personas["codes"][5]["share"] == 0.0
    assert personas["codes"][5]["sentence"] == "No session of the training data has this code."
    assert personas["codes"][0]["share"] == 1.0


def test_few_sessions_are_called_uncertain(small: Any) -> None:
    few = small.training.select(np.arange(50))
    personas = describe(small.fitted.codebook, few, np.zeros(50, np.int32))
    assert personas["codes"][0]["confidence_note"] == "only 50 sessions: uncertain"
    assert "uncertain" in personas["codes"][0]["sentence"]


def test_a_name_that_was_given_stays_and_no_other_code_gets_it(small: Any) -> None:
    personas, codes = small.fitted.personas, np.arange(len(small.training), dtype=np.int32) % 12
    taken = personas["coarse"][0]["name"]
    again = describe(small.fitted.codebook, small.training, codes, {"c03": taken, "c05": "somebody of old"})
    names = {persona["code_path"]: persona["name"] for persona in again["coarse"]}
    assert (names["c03"], names["c05"]) == (taken, "somebody of old")
    assert list(names.values()).count(taken) == 1
