"""``bench encoder`` on a world of a few merchants: the figures that must be there, and what they can be."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.encoder import ABLATIONS, EncoderPlan, bench_encoder
from bench.encoder_ceiling import PREFIXES
from bench.encoder_fsq import FsqQuantiser, levels_of
from bench.encoder_scores import Reading
from bench.encoder_world import Part, WorldPlan, make_world
from bench.report import Report
from encoders.model import SessionEncoder, Shape
from encoders.training import TrainingOptions

SMALL = WorldPlan(merchants=8, unseen_merchants=3, buyers=70, unseen_buyers=60, hours=96.0, seed=2)
OPTIONS = TrainingOptions(Shape(width=24, hidden=24, coarse=8, fine=2), epochs=4, batch=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    plan = EncoderPlan(SMALL, OPTIONS, rounds=8, speed_sessions=100)
    return bench_encoder(folder, plan, lambda step: None)


@pytest.mark.parametrize("coder", ["ours", "kmeans", "mixture", "fsq"])
def test_every_coder_has_its_figures_in_range(report: Report, coder: str) -> None:
    for level in ("coarse", "as_types"):
        for after in ("", *(f"_after_{length}" for length in PREFIXES)):
            assert 0.0 <= report.figures[f"{coder}_nmi_{level}{after}"].value <= 1.0
            assert report.ratios[f"{coder}_nmi_{level}{after}/ceiling_nmi{after}"] >= 0.0
    for level in ("coarse", "full"):
        assert 0.0 < report.figures[f"{coder}_{level}_in_use"].value <= 1.0
        assert 0.0 < report.figures[f"{coder}_{level}_perplexity"].value <= 1.0
        assert report.figures[f"{coder}_{level}_largest"].value >= 1.0
    assert 0.0 <= report.figures[f"{coder}_nmi_buyers"].value <= 1.0
    assert report.figures[f"{coder}_conversion_saved"].value < 1.0
    assert not report.missing


def test_a_classifier_that_is_told_the_types_beats_chance_by_far(report: Report) -> None:
    assert 0.3 < report.figures["ceiling_nmi"].value < 1.0
    assert report.figures["ceiling_nmi"].value > report.figures["ceiling_nmi_after_2"].value


def test_both_runtimes_give_the_same_codes_and_their_speeds_are_there(report: Report) -> None:
    assert report.figures["onnx_equals_torch"].value >= 0.99
    for name in ("onnx_sessions_per_core_s", "torch_sessions_per_core_s", "encode_us_per_event", "live_us_per_event"):
        assert isfinite(report.figures[name].value)
        assert report.figures[name].value > 0.0


def test_the_two_sets_share_no_merchant_and_are_read_again_from_the_folder(folder: Path, report: Report) -> None:
    steps: list[str] = []
    world = make_world(folder, SMALL, steps.append)
    assert not set(world.training.log.merchants) & set(world.unseen.log.merchants)
    assert not any("generating" in step for step in steps)
    assert (world.unseen.types >= 0).all()


def test_each_ablation_changes_one_thing() -> None:
    for change in ABLATIONS.values():
        changed = change(OPTIONS)
        assert changed != OPTIONS
        dials = [name for name in TrainingOptions.__slots__ if getattr(changed, name) != getattr(OPTIONS, name)]
        assert len(dials) == 1


def test_an_encoder_that_does_not_read_the_summary_is_blind_to_it() -> None:
    encoder = SessionEncoder(replace(OPTIONS.shape, reads_summary=False))
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=0.1)
    tokens, counts = torch.rand(4, 3, encoder.gru.input_size), torch.tensor([4, 2, 1])
    summaries = torch.rand(3, len(encoder.summary_mean))
    encoder(tokens, counts, summaries)[:, 0].sum().backward()
    optimiser.step()
    with torch.no_grad():
        assert torch.equal(encoder(tokens, counts, summaries), encoder(tokens, counts, summaries + 1.0))


@pytest.mark.parametrize(("size", "levels"), [(1, (1,)), (4, (2, 2)), (16, (4, 4)), (20, (5, 4)), (64, (8, 8))])
def test_levels_multiply_to_the_size(size: int, levels: tuple[int, ...]) -> None:
    assert levels_of(size) == levels


def test_scalar_codes_reach_their_whole_range_and_equal_codes_are_given_back_alike() -> None:
    shape = Shape(coarse=20, fine=4)
    quantiser = FsqQuantiser(shape, seed=1)
    latents = 30.0 * torch.randn(
        20_000, shape.type_width + shape.style_width, generator=torch.Generator().manual_seed(1)
    )
    given, _, coarse, fine = quantiser(latents)
    assert set(coarse.tolist()) == set(range(20))
    assert set(fine.tolist()) == set(range(4))
    same = (coarse == coarse[0]) & (fine == fine[0])
    torch.testing.assert_close(given[same], given[same][:1].expand(int(same.sum()), -1))


def test_scalar_codes_spread_over_unit_vectors_and_give_them_back_better_than_their_mean() -> None:
    shape = Shape(coarse=16, fine=4)
    quantiser = FsqQuantiser(shape, seed=1)
    random = torch.Generator().manual_seed(2)
    centres = torch.randn(8, shape.type_width + shape.style_width, generator=random)
    noise = torch.randn(4_000, shape.type_width + shape.style_width, generator=random)
    kind, style = quantiser.split(centres[torch.arange(4_000) % 8] + 0.3 * noise)
    latents = torch.cat([functional.normalize(kind), functional.normalize(style)], dim=-1)
    quantiser.fit(latents, seed=1)
    _, distance, coarse, fine = quantiser(latents)
    assert len(coarse.unique()) >= 8
    assert len(fine.unique()) == 4
    assert distance < 0.8 * (latents - latents.mean(0)).square().sum(-1).mean()


def test_codes_are_read_as_their_commonest_type_and_at_the_purchase_rate_of_training(folder: Path) -> None:
    training = make_world(folder, SMALL, lambda step: None).training
    part = Part(training.log.select(np.arange(4)), np.array([3, 3, 1, -1]))
    reading = Reading.of(part, np.array([0, 0, 0, 1]), 3)
    bought = part.converted
    assert reading.types[0] == 3
    assert reading.rates.tolist() == [(bought[:3].sum() + 0.5) / 4, (bought[3:].sum() + 0.5) / 2, 0.5]
