"""``finetune --form text`` and what is done with its folder: a run repeated, a benchmark, sentences for bad input."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agent_runtime.crowds.simulation import Plan, shop_hash
from agent_runtime.errors import ModelError
from agent_runtime.population.population import Mix
from agent_runtime.simulators.simulator import MARKOV, REPLAY, TEXT, load_simulator
from agent_runtime.text.model import load_text_model
from bench.simulate import backends_of, measure
from tests.commands import ends

SMALL = ["--form", "text", "--width", "16", "--layers", "1", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, taught: list[str]) -> Path:
    target = tmp_path_factory.mktemp("made") / "simulator"
    ends(0, [*taught, "--out", str(target), *SMALL])
    return target


def test_a_run_is_repeated_from_its_manifest(folder: Path, tmp_path: Path) -> None:
    simulator = load_simulator(folder)
    assert simulator.manifest["form"] == TEXT
    mix = Mix("shop", simulator.codebook_version, 5, 100.0, {0: 0.5, 2: 0.5})
    shop = simulator.shops["shop"]
    plan = Plan(mix, simulator.version, shop_hash(shop), TEXT, 30, 7, 1_764_000_000_000, 3_600_000, 1_800_000, 60_000)
    (tmp_path / "plan.json").write_text(plan.to_json())
    for turn in ("1", "2"):
        asked = ["simulate", "--model", str(folder), "--manifest", str(tmp_path / "plan.json"), "--threads", turn]
        ends(0, [*asked, "--out", str(tmp_path / f"{turn}.parquet")])
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert len(set(pq.read_table(tmp_path / "1.parquet")["client_id"].to_pylist())) == 30


def test_the_benchmark_measures_the_model_that_is_there(folder: Path) -> None:
    assert backends_of(folder) == (TEXT, MARKOV, REPLAY)
    assert measure(folder, TEXT, sessions=8, threads=1, repeats=1, seed=0).events >= 8


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--form", "prose"], "--form prose: not known; choose compact or text."),
        (["--form", "text", "--lora", "4"], "name one with --base"),
        (["--form", "text", "--storefronts", "told.jsonl"], "leave out --form text"),
        (["--form", "text", "--base", "./nothing"], "no causal language model to start from"),
    ],
)
def test_what_cannot_be_taught_is_one_sentence(
    tmp_path: Path,
    taught: list[str],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    sentence: str,
) -> None:
    ends(2, [*taught, "--out", str(tmp_path / "s"), *more])
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert sentence in line


def test_a_tokenizer_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    simulator = load_simulator(folder)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer.json: no tokenizer .*; finetune anew\.$"):
        load_text_model(tmp_path, simulator.vocabulary, simulator.chain())
