"""``simpersona simulate --variant``: a report in three forms without broker or store; one sentence for bad input."""

import json
from pathlib import Path

import pytest

from agent_runtime.models.markov import MarkovChain
from agent_runtime.simulators.simulator import write_simulator
from agent_runtime.storefront.shop import Shop
from agent_runtime.vocabulary import Vocabulary
from infra.cli.main import main

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory, shop: Shop, vocabulary: Vocabulary, chain: MarkovChain) -> Path:
    """A scripted simulator that knows the shop."""
    folder = tmp_path_factory.mktemp("made") / "simulator"
    write_simulator(folder, vocabulary, chain, [shop], None, {})
    return folder


def test_the_report_is_a_table_a_file_and_a_page(
    tmp_path: Path, simulator: Path, toy_log: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    change, reports = tmp_path / "change.yaml", []
    change.write_text("name: no cart page\nremove_steps: cart_viewed\n")
    for turn in range(2):
        arguments = ["simulate", "--merchant", "shop", "--buyers", "64", "--backend", "markov", "--seed", "5"]
        arguments += ["--model", str(simulator), "--assignments", str(toy_log[1]), "--variant", str(change)]
        main_ends(
            0, [*arguments, "--json", str(tmp_path / "reports" / "e.json"), "--html", str(tmp_path / f"{turn}.html")]
        )
        reports.append(json.loads((tmp_path / "reports" / "e.json").read_text()))
    told = reports[0]
    assert told == reports[1]
    assert told["manifest"]["variant"] == told["variant"] and told["words"] == "without cart viewed"
    assert {effect["persona"] for effect in told["effects"]} == {"all", "c00", "c01"}
    overall = {effect["measure"]: effect for effect in told["effects"] if effect["persona"] == "all"}
    assert overall["conversion"]["sessions"] == 64
    assert overall["conversion"]["low"] <= overall["conversion"]["difference"] <= overall["conversion"]["high"]
    assert "no cart page at shop" in capsys.readouterr().out
    assert (tmp_path / "0.html").read_text() == (tmp_path / "1.html").read_text()


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("price_factor: 1.1", [], "finetune it with --storefronts"),
        ("price_factor: 0", [], "price_factor is 0, expected a number from 0.2 to 5"),
        ("free_shipping: false", [], "changes nothing at shop"),
        ("remove_steps: cart_viewed", ["--merchant", "other"], "no session of a shopper at other"),
        ("remove_steps: cart_viewed", ["--storefronts", "told.jsonl"], "--storefronts goes with --events"),
        ("remove_steps: cart_viewed", ["--backend", "replay"], "--backend replay does what real shoppers did"),
        (None, ["--html", "page.html"], "--html and --assignments go with --variant"),
    ],
)
def test_what_cannot_be_tried_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    simulator: Path,
    toy_log: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    more: list[str],
    sentence: str,
) -> None:
    arguments = ["simulate", "--merchant", "shop", "--buyers", "8", "--backend", "markov", "--model", str(simulator)]
    if text is not None:
        change = tmp_path / "change.yaml"
        change.write_text(text)
        arguments += ["--assignments", str(toy_log[1]), "--variant", str(change)]
    main_ends(2, [*arguments, *more])
    assert sentence in " ".join(capsys.readouterr().err.split())


def main_ends(code: int, arguments: list[str]) -> None:
    """Run the command line and expect this exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code
