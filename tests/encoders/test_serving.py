import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.batches import EVENTS_READ
from encoders.errors import ArtefactError
from encoders.serving import BATCH, Encoder
from encoders.training import torch_latents
from schemas.events import EVENT, SessionBatch


def test_torch_and_onnx_agree_on_the_codes(small: Any) -> None:
    encoder = Encoder.load(small.folder)
    log = small.population.log
    codes = encoder.encode(log.batch()).code
    latents = torch_latents(small.trained.encoder, log)
    coarse, fine = small.trained.quantiser.codes(latents)
    agreement = (codes == (coarse * 2 + fine).numpy()).mean()
    assert agreement >= 0.9999
    served = encoder.latents(log.events, log.starts, log.lengths)
    assert np.abs(served - latents.numpy()).max() < 1e-4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, BATCH, BATCH + 1, 1000])
def test_a_session_is_encoded_alike_to_the_last_bit_in_any_batch(small: Any, size: int) -> None:
    encoder, log = Encoder.load(small.folder), small.held_out
    whole = encoder.encode(log.batch(), posterior=True)
    shuffled = np.random.default_rng(size).permutation(len(log))[: min(300, len(log))]
    for first in range(0, len(shuffled), size):
        rows = shuffled[first : first + size]
        part = encoder.encode(log.select(rows).batch(), posterior=True)
        assert np.array_equal(part.code, whole.code[rows])
        assert part.confidence.tobytes() == whole.confidence[rows].tobytes()
        assert part.posterior is not None and whole.posterior is not None
        assert part.posterior.tobytes() == whole.posterior[rows].tobytes()


def test_an_open_session_that_goes_on_is_encoded_to_the_last_bit_as_one_that_comes_whole(small: Any) -> None:
    """Every few events, whatever came in the meantime; one session is longer than any that was learned from."""
    following, log, random = Encoder.load(small.folder), small.held_out, np.random.default_rng(5)
    sessions = [log.events[start : start + length] for start, length in zip(log.starts, log.lengths, strict=True)]
    sessions.append(np.sort(log.events[: 2 * EVENTS_READ], order=["t", "id"]))
    ends = np.array([len(session) for session in sessions])
    lengths = np.minimum(ends, random.integers(1, 4, len(ends)))
    done = False
    while not done:
        done = bool((lengths == ends).all())
        rows = np.flatnonzero((random.random(len(ends)) < 0.5) | done)
        events = np.concatenate([sessions[row][: lengths[row]] for row in rows])
        some = SessionBatch(events, np.concatenate([[0], np.cumsum(lengths[rows])]))
        still_open = (random.random(len(rows)) < 0.9) & (not done)
        found = following.encode(some, still_open=still_open)
        whole = Encoder.load(small.folder).encode(some, still_open=still_open)
        assert np.array_equal(found.code, whole.code)
        assert found.confidence.tobytes() == whole.confidence.tobytes()
        lengths = np.minimum(ends, lengths + random.integers(0, 6, len(ends)))
    assert np.array_equal(whole.code, Encoder.load(small.folder).encode(some).code)


def test_an_open_session_costs_a_step_for_each_new_event(small: Any) -> None:
    encoder, events = Encoder.load(small.folder), small.held_out.events[small.held_out.starts[0] :][:12]
    steps = []
    run = encoder.run
    encoder.run = lambda features, *rest: steps.append(len(features.tokens)) or run(features, *rest)  # type: ignore[method-assign, func-returns-value]
    for length in (2, 3, 5):
        encoder.encode(SessionBatch(events[:length], np.array([0, length])), still_open=np.array([True]))
    encoder.encode(SessionBatch(events[:5], np.array([0, 5])), still_open=np.array([False]))
    assert steps == [2, 1, 2, 1]  # at last the token that says that it is over
    encoder.encode(SessionBatch(events[:5], np.array([0, 5])))
    assert steps == [2, 1, 2, 1, 6]


def test_two_threads_encode_as_one(small: Any) -> None:
    batch = small.held_out.batch()
    one, two = Encoder.load(small.folder).encode(batch), Encoder.load(small.folder, threads=2).encode(batch)
    assert np.array_equal(one.code, two.code)
    assert one.confidence.tobytes() == two.confidence.tobytes()


def test_codes_come_with_paths_confidence_and_version(small: Any) -> None:
    encoder = Encoder.load(small.folder)
    codes = encoder.encode(small.held_out.batch())
    assert (encoder.size, len(encoder.code_paths), encoder.code_paths[-1]) == (12, 12, "c05.f1")
    assert encoder.version.startswith("cb-")
    assert (codes.code.dtype, codes.confidence.dtype, codes.posterior) == (np.int32, np.float32, None)
    assert ((codes.confidence > 0) & (codes.confidence <= 1)).all()


def test_nothing_to_encode_gives_nothing(small: Any) -> None:
    codes = Encoder.load(small.folder).encode(SessionBatch(np.zeros(0, EVENT), np.zeros(1, np.int64)), posterior=True)
    assert len(codes.code) == len(codes.confidence) == 0
    assert codes.posterior is not None and codes.posterior.shape == (0, 12)


def test_a_session_of_any_length_is_encoded(small: Any) -> None:
    events = np.zeros(513, EVENT)
    events["t"] = np.arange(513) * 1000
    codes = Encoder.load(small.folder).encode(SessionBatch(events, np.array([0, 1, 513])))
    assert len(codes.code) == 2


def test_a_network_that_onnx_runtime_refuses_is_one_sentence(small: Any) -> None:
    with pytest.raises(ArtefactError, match="ONNX Runtime cannot load it"):
        Encoder(b"not a network", small.fitted.codebook, "cb-broken")


def test_serving_never_loads_torch(small: Any) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path; from encoders.serving import Encoder;"
        "from schemas.events import EVENT, SessionBatch;"
        "e = Encoder.load(Path(sys.argv[1]));"
        "e.encode(SessionBatch(np.zeros(1, EVENT), np.array([0, 1])));"
        "large = ('torch', 'sklearn', 'onnx', 'transformers', 'faust', 'matplotlib', 'jinja2');"
        "print([m for m in large if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, small.folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout.strip() == "[]"
