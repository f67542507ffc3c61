"""Simulators that go on to learn: ``finetune --base SIMULATOR`` and ``align --own-past``."""

import json
from pathlib import Path

import pytest

from agent_runtime.alignment.gone_on import gone_on
from agent_runtime.alignment.pool import Casting
from agent_runtime.alignment.run import AlignmentPlan
from agent_runtime.simulators.simulator import load_simulator
from encoders.generator.run import GeneratorRun, generate
from tests.commands import ends

SMALL = ["--width", "16", "--layers", "1", "--epochs", "1"]


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory, taught: list[str]) -> Path:
    """A folder of simulators that have hardly learnt: with buyer types, without, and one without any model."""
    folder = tmp_path_factory.mktemp("simulators")
    ends(0, [*taught, "--out", str(folder / "typed"), *SMALL])
    ends(0, [*taught, "--out", str(folder / "untyped"), "--untyped", *SMALL])
    ends(0, [*taught, "--out", str(folder / "scripted"), "--scripted-only"])
    return folder


def test_a_simulator_goes_on_where_another_ended(simulators: Path, tmp_path: Path, taught: list[str]) -> None:
    ends(0, [*taught, "--out", str(tmp_path / "more"), "--base", str(simulators / "typed")])
    before, after = load_simulator(simulators / "typed"), load_simulator(tmp_path / "more")
    assert after.manifest["base"] == before.version
    assert after.manifest["options"]["goes_on"]
    assert after.manifest["figures"]["parameters"] == before.manifest["figures"]["parameters"]
    nats = [one.manifest["figures"]["held_out_nats_per_session"] for one in (before, after)]
    assert nats[1] < 0.8 * nats[0]
    assert dict(after.shops) == dict(before.shops)


def test_align_lets_all_go_on_with_the_past_half(
    simulators: Path, tmp_path: Path, taught: list[str], toy_log: tuple[Path, Path]
) -> None:
    found = []
    for own_past in ([], ["--own-past"]):
        asked = ["align", "--events", str(toy_log[0]), "--encoder", taught[-1], "--least-sessions", "60"]
        asked += ["--simulator", str(simulators / "typed"), "--untyped", f"no_persona={simulators / 'untyped'}"]
        ends(0, [*asked, "--derangements", "1", "--json", str(tmp_path / "align.json"), *own_past])
        found.append(json.loads((tmp_path / "align.json").read_text())["merchants"]["shop"])
    for condition in ("persona", "no_persona"):
        before, after = (figures[condition]["next_action_nats_plain"] for figures in found)
        assert after < 0.8 * before
    assert found[0]["floor"] == found[1]["floor"]


@pytest.mark.parametrize(
    ("base", "more", "sentence"),
    [
        ("scripted", [], "holds no language model of the compact form to go on from"),
        ("untyped", [], "taught buyer types or not, as the new sessions must be"),
        ("typed", ["--untyped"], "taught buyer types or not, as the new sessions must be"),
        ("typed", ["--form", "text"], "a simulator goes on in the compact form"),
    ],
)
def test_what_cannot_go_on_says_why(
    capsys: pytest.CaptureFixture[str],
    simulators: Path,
    tmp_path: Path,
    taught: list[str],
    base: str,
    more: list[str],
    sentence: str,
) -> None:
    ends(2, [*taught, "--out", str(tmp_path / "out"), "--base", str(simulators / base), *more])
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_who_has_too_little_to_learn_from_stays(simulators: Path, tmp_path: Path, taught: list[str]) -> None:
    few = tmp_path / "few.parquet"
    generate(GeneratorRun(1, 15, 24.0, 5, 1_788_739_200_000), few, tmp_path / "truth.parquet", lambda done, total: None)
    typed, nobody = simulators / "typed", simulators / "untyped"
    cast = Casting(Path(taught[-1]), typed, {"no_persona": nobody}, earlier=typed)
    assert gone_on(cast, few, tmp_path / "made", AlignmentPlan()) == cast
    assert not (tmp_path / "made").exists()
