"""Numbers that can be typed but not worked with are refused by the option that has them."""

import pytest

from tests.commands import ends

pytestmark = pytest.mark.fast

HUGE = "99999999999999999999"
FINETUNE = "finetune --events e --assignments a --out o"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("worker --health-port 99999", "--health-port"),
        ("worker --health-port -5", "--health-port"),
        (f"train --events e --out o --seed {HUGE}", "--seed"),
        ("train --events e --out o --threads 100000", "--threads"),
        (f"{FINETUNE} --seed {HUGE}", "--seed"),
        (f"{FINETUNE} --seed -1", "--seed"),
        (f"{FINETUNE} --learning-rate nan", "--learning-rate"),
        (f"{FINETUNE} --learning-rate -1", "--learning-rate"),
        (f"simulate --merchant m --seed {HUGE}", "--seed"),
        ("simulate --merchant m --hours 1e12", "--hours"),
        ("simulate --merchant m --hours nan", "--hours"),
        ("simulate --merchant m --wait nan", "--wait"),
        ("import --format rees46 raw.csv --out o --merchant=", "--merchant"),
        ("replay --rejected --merchant=", "--merchant"),
        ("agents --rate 1e12", "--rate"),
        ("agents --speed 1e300", "--speed"),
        ("agents --every nan", "--every"),
        (f"adapt --events e --out o --seed {HUGE}", "--seed"),
        ("adapt --events e --out o --last-hours 1e300", "--last-hours"),
    ],
)
def test_a_number_out_of_bounds_is_said_of_its_option(
    capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    ends(2, command.split())
    assert f"Invalid value for '{option}'" in capsys.readouterr().err
