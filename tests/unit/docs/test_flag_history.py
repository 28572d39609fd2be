"""Since when the reference page says that vLLM has a flag: a history that ends in the flags of each release we know."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from builders.pages import ROOT
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import engine_flag_history

    return engine_flag_history


def flags_of(version: str) -> set[str]:
    release = engine_version(version)
    assert isinstance(release, EngineVersion)
    return {flag.flag for flag in release.flags.values()}


@pytest.mark.parametrize("version", known_versions())
def test_the_history_up_to_a_release_is_the_flags_of_its_parser(history: ModuleType, version: str) -> None:
    have: set[str] = set()
    for minor, changes in json.loads(history.PATH.read_text(encoding="utf-8"))["releases"].items():
        assert have.isdisjoint(changes["added"])
        assert have.issuperset(changes["removed"])
        have = (have | set(changes["added"])) - set(changes["removed"])
        if version.startswith(f"{minor}."):
            break

    assert have == flags_of(version)


def test_until_is_the_last_release_that_had_it(history: ModuleType) -> None:
    found = history.flag_history()

    # Removed by 0.18, so that a manifest of 0.17 may have it.
    assert (found.since["--swap-space"], found.until["--swap-space"]) == ("0.10", "0.17")
    assert found.since["--max-num-active-seqs"] == "0.31"
    assert found.until.keys().isdisjoint(flags_of(known_versions()[-1]))


def test_a_release_that_is_added_continues_it(history: ModuleType) -> None:
    text = history.PATH.read_text(encoding="utf-8")
    former = flags_of(known_versions()[-1])
    flags = {*former, "--new-one"} - {"--seed"}

    written = history.with_release(text, "0.34", flags=flags, former=former)

    assert written.splitlines()[:-3] == [line if line[-1] != "}" else f"{line}," for line in text.splitlines()[:-2]]
    assert json.loads(written)["releases"]["0.34"] == {"added": ["--new-one"], "removed": ["--seed"]}
