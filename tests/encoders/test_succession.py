"""A challenger beside the encoder it came from: identity of types and names, the gate, the artefact, training on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.adaptation import AdaptationOptions
from encoders.artefact import check_artefact, read_personas, write_artefact
from encoders.errors import TrainingDataError
from encoders.export import to_onnx
from encoders.further_training import from_onnx
from encoders.gate import Criterion, Verdict, judge, relative_loss, split_held_back
from encoders.metrics import nmi
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from encoders.succession import Challenger, challenge, challenge_trained_on, challenge_with, write_successor

OPTIONS = AdaptationOptions(half_life=2_000)


@pytest.fixture(scope="module")
def recent(populate: Callable[[int, int, int], Any]) -> SessionLog:
    """Sessions of the same kinds of shoppers at other times."""
    log: SessionLog = populate(8, 300, 77).log
    return log


@pytest.fixture(scope="module")
def parts(recent: SessionLog) -> tuple[SessionLog, SessionLog]:
    return split_held_back(recent, 0)


@pytest.fixture(scope="module")
def champion(small: Any) -> Encoder:
    return Encoder.load(small.folder)


@pytest.fixture(scope="module")
def adapted(small: Any, champion: Encoder, parts: tuple[SessionLog, SessionLog]) -> Challenger:
    return challenge(champion, small.folder, parts[0], OPTIONS)


def test_held_back_are_whole_buyers_about_a_quarter(recent: SessionLog, parts: tuple[SessionLog, SessionLog]) -> None:
    to_adapt, held_back = parts
    assert not set(to_adapt.key.tolist()) & set(held_back.key.tolist())
    assert len(to_adapt) + len(held_back) == len(recent)
    assert 0.2 < len(held_back) / len(recent) < 0.3


def test_when_nothing_changed_types_keep_their_sessions_and_the_gate_sees_no_reason(
    small: Any, champion: Encoder, adapted: Challenger, parts: tuple[SessionLog, SessionLog]
) -> None:
    assert (adapted.types.born, adapted.types.retired) == ((), ())
    assert adapted.kept_types >= 0.95
    verdict = judge(champion, adapted.encoder, *parts, seed=0, one_network=True)
    assert not any(one.loss for one in verdict.criteria)
    itself = judge(champion, champion, *parts, seed=0, one_network=True)
    assert not itself.accepted
    assert itself.reason == "The challenger is better in nothing that would be worth a change."


def test_a_codebook_that_knows_nothing_of_the_sessions_is_refused_and_beaten(
    small: Any, champion: Encoder, parts: tuple[SessionLog, SessionLog]
) -> None:
    random = np.random.default_rng(3)
    coarse = random.normal(size=champion.codebook.coarse.shape).astype(np.float32)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
    spoilt = Encoder((small.folder / "encoder.onnx").read_bytes(), replace(champion.codebook, coarse=coarse), "spoilt")
    refused = judge(champion, spoilt, *parts, seed=0, one_network=True)
    assert not refused.accepted
    assert "worse in quantisation error" in refused.reason
    mended = judge(spoilt, champion, *parts, seed=0, one_network=True)
    assert {"quantisation_error", "buyers_recognised"} <= {one.name for one in mended.criteria if one.gain}


def test_sessions_that_are_all_alike_are_judged_by_what_can_differ(champion: Encoder, recent: SessionLog) -> None:
    starts, lengths = (np.full(len(recent), column[0]) for column in (recent.starts, recent.lengths))
    parts = split_held_back(replace(recent, starts=starts, lengths=lengths), 0)
    verdict = judge(champion, champion, *parts, seed=0, one_network=True)
    assert not any(one.gain or one.loss for one in verdict.criteria)


def test_too_few_sessions_are_no_judge(champion: Encoder, recent: SessionLog) -> None:
    few = recent.select(np.arange(200))
    with pytest.raises(TrainingDataError, match=r"Only 200 recent sessions are held back .* 500 are needed"):
        judge(champion, champion, recent, few, seed=0, one_network=True)


@pytest.mark.parametrize(
    ("criteria", "accepted", "reason"),
    [
        ([(1.0, 1.2, True)], True, "The challenger is better in a and worse in nothing."),
        ([(1.0, 1.05, True)], False, "The challenger is better in nothing that would be worth a change."),
        ([(1.0, 1.2, True), (1.0, 1.2, False)], False, "The challenger is worse in b."),
        ([(1.0, 0.8, False), (1.0, 1.2, True)], True, "The challenger is better in a and b and worse in nothing."),
    ],
)
def test_better_in_something_and_worse_in_nothing(
    criteria: list[tuple[float, float, bool]], accepted: bool, reason: str
) -> None:
    named = [Criterion("ab"[n], old, new, 0.1, more) for n, (old, new, more) in enumerate(criteria)]
    verdict = Verdict(1_000, tuple(named))
    assert (verdict.accepted, verdict.reason) == (accepted, reason)


def test_loss_is_measured_against_the_rates_of_all() -> None:
    seen, seen_outcome = np.repeat([0, 1], 50), np.repeat([0, 1], 50)
    told = relative_loss(seen, seen_outcome, np.array([0, 1]), np.array([0, 1]), 2)
    np.testing.assert_allclose(told, -np.log(50.5 / 51) / np.log(2))
    assert np.isnan(relative_loss(seen, seen_outcome, np.array([0, 1]), np.array([1, 1]), 2)).all()


def test_a_successor_names_its_predecessor_the_map_and_the_same_personas(
    small: Any, champion: Encoder, adapted: Challenger, parts: tuple[SessionLog, SessionLog], tmp_path: Path
) -> None:
    verdict = judge(champion, adapted.encoder, *parts, seed=0, one_network=True)
    out = tmp_path / "successor"
    before = check_artefact(small.folder)
    written = write_successor(out, small.folder, before, adapted, parts[0], verdict, {"seed": 0})
    manifest = check_artefact(out)
    assert manifest.fields == written.fields
    assert manifest.codebook_version != before.codebook_version
    assert manifest.fields["previous_version"] == before.codebook_version
    assert manifest.fields["shape"] == before.fields["shape"]
    codes = manifest.fields["code_map"]["codes"]
    assert codes == {str(code): code for code in range(champion.size)}
    assert manifest.fields["gate"]["criteria"].keys() == {one.name for one in verdict.criteria}
    old, new = read_personas(small.folder), read_personas(out)
    for level in ("coarse", "codes"):
        assert [one["name"] for one in old[level]] == [one["name"] for one in new[level]]
    assert [one["sentence"] for one in old["coarse"]] != [one["sentence"] for one in new["coarse"]]
    served = Encoder.load(out).encode(parts[1].batch())
    np.testing.assert_array_equal(served.code, adapted.encoder.encode(parts[1].batch()).code)


def test_an_encoder_whose_codes_are_in_another_order_gets_the_old_ones_back(
    small: Any, champion: Encoder, parts: tuple[SessionLog, SessionLog], tmp_path: Path
) -> None:
    order, fine = np.array([3, 0, 5, 1, 4, 2]), np.array([1, 0])
    book = champion.codebook
    shuffled = replace(
        book, coarse=book.coarse[order], fine=book.fine[order][:, fine], coarse_bias=book.coarse_bias[:, order]
    )
    write_artefact(tmp_path / "anew", (small.folder / "encoder.onnx").read_bytes(), shuffled, {"codes": []}, {})
    made = challenge_with(champion, tmp_path / "anew", parts[0], 0)
    assert (made.types.born, made.types.retired) == ((), ())
    assert (made.kept_types, made.kept_codes) == (1.0, 1.0)
    np.testing.assert_array_equal(made.encoder.codebook.coarse, book.coarse)


def test_a_network_comes_out_of_its_file_as_it_went_in(small: Any) -> None:
    network = (small.folder / "encoder.onnx").read_bytes()
    assert to_onnx(from_onnx(network)) == network


def test_training_on_keeps_most_types_and_what_the_codes_mean(
    small: Any, champion: Encoder, populate: Callable[[int, int, int], Any], parts: tuple[SessionLog, SessionLog]
) -> None:
    told: list[tuple[int, int]] = []
    made = challenge_trained_on(champion, small.folder, parts[0], 2, 0, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert made.network != (small.folder / "encoder.onnx").read_bytes()
    assert made.kept_types > 0.8
    others = populate(3, 200, 78)
    before, after = (encoder.encode(others.log.batch()).code // 2 for encoder in (champion, made.encoder))
    assert nmi(after, others.types) > nmi(before, others.types) - 0.1
