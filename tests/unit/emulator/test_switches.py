"""Environment variables: each is read, a wrong one ends the start."""

from __future__ import annotations

import pytest

from inference_fleet.emulator.switches import PREFIX, Switches, SwitchRefusal, read_switches


def test_nothing_set_is_a_healthy_engine() -> None:
    assert read_switches({"PATH": "/bin"}) == Switches()


def test_values_take_their_types() -> None:
    environment = {"VERSION": "0.32.0", "COLD_START_SECONDS": "20", "HANG_AFTER_REQUESTS": "3"}
    got = read_switches({PREFIX + name: text for name, text in environment.items()})
    assert got == Switches(version="0.32.0", cold_start_seconds=20.0, hang_after_requests=3)


@pytest.mark.parametrize(
    ("name", "text", "fragment"),
    [
        ("COLD_STRAT_SECONDS", "1", "no such switch"),
        ("CRASH_AFTER_REQUESTS", "1.5", "not a whole number"),
        ("COLD_START_SECONDS", "soon", "not a number"),
        ("COLD_START_SECONDS", "-1", "0 or more"),
        ("COLD_START_SECONDS", "nan", "finite"),
        ("SLOW_START_FACTOR", "inf", "finite"),
        ("ACCEPTANCE_RATE", "1.1", "at most 1"),
    ],
)
def test_wrong_switch_is_refused_by_name(name: str, text: str, fragment: str) -> None:
    refusal = read_switches({PREFIX + name: text})
    assert isinstance(refusal, SwitchRefusal)
    assert refusal.variable == PREFIX + name
    assert fragment in str(refusal)
