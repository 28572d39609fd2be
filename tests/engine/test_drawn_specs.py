"""Specs drawn from the schema: what the operator accepts vLLM accepts; what it refuses vLLM refuses, or it says why.

For the release that has a build for processor cores, and a quarter as many for the newest one, whose Python runs over
that build's compiled parts. SAMPLE says how many are drawn (`make bench-engine`: 20,000), DRAWN_REPORT where to write
what came of it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.checkpoint_configs import write_checkpoints
from builders.drawn_specs import DrawnSpec, drawn_spec
from builders.judged_specs import Judged, in_folder, judged
from builders.refusal_rules import refusal_rules
from builders.specified_differences import (
    BROKEN_RULES_VLLM_LACKS,
    MET_ELSEWHERE,
    OF_THIS_MACHINE,
    OVERRULING,
    REFUSED_BY_THE_OPERATOR_ALONE,
    SELDOM_BROKEN,
    SELDOM_MET,
)
from builders.vllm_validator import VllmValidator, newer_release
from inference_fleet.engine.versions import EngineVersion, engine_version
from inference_fleet.sandbox.real_engine import RealEngine, find_real_engine
from inference_fleet.sandbox.tools.cache import cache_folder

SAMPLE = int(os.environ.get("SAMPLE") or 2000)
NEWEST_SAMPLE = SAMPLE // 4
REPORT = os.environ.get("DRAWN_REPORT", "")
LEAST_REFUSED = 500
LEAST_HITS = 3
whole_sample = pytest.mark.skipif(SAMPLE < 2000, reason="a smaller sample does not meet everything")


@dataclass(frozen=True)
class Case:
    seed: int
    drawn: DrawnSpec
    judged: Judged
    answer: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        """What vLLM says against it."""
        return " ".join(self.answer["error"]) if "error" in self.answer else None

    @property
    def reasons(self) -> set[tuple[str, str]]:
        """(check, field) of every refusal."""
        pairs = zip(self.judged.rules, self.judged.refusals, strict=True)
        found = {(rule.check, re.sub(r"\[\d+\]", "", refusal.path)) for rule, refusal in pairs}
        return found & OVERRULING or found

    @property
    def broken_rule(self) -> str | None:
        """What the API server says of it, where that can be compared."""
        return None if self.reasons & OVERRULING else self.judged.broken_rule


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not one of pytest's own, of which later runs keep few: a large sample takes longer than three of them.
    with tempfile.TemporaryDirectory() as made:
        write_checkpoints(Path(made))
        yield Path(made)


@pytest.fixture(scope="module")
def installed(folder: Path) -> list[Case]:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    return asked(engine, version=engine.version, folder=folder, sample=SAMPLE)


@pytest.fixture(scope="module")
def newest(folder: Path) -> list[Case]:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    version, python = newer_release()
    return asked(engine, version=version, folder=folder, sample=NEWEST_SAMPLE, PYTHONPATH=str(python))


@pytest.fixture(params=["installed", "newest"])
def cases(request: pytest.FixtureRequest) -> list[Case]:
    found: list[Case] = request.getfixturevalue(request.param)
    return found


def asked(engine: RealEngine, *, version: str, folder: Path, sample: int, **environment: str) -> list[Case]:
    # Looking into a model's class takes vLLM ten seconds the first time; it keeps what it saw.
    kept = {"VLLM_CACHE_ROOT": str(cache_folder() / "engine" / f"looked-into-{version}")}
    found: list[Case] = []
    with VllmValidator(engine, environment={**kept, **environment}) as validator:
        for seed in range(sample):
            drawn = drawn_spec(seed, version=version)
            verdict = judged(drawn)
            answer = validator.configure(in_folder(verdict.arguments, folder))
            found.append(Case(seed, drawn, verdict, answer))
    against = [case for case in found if case.judged.accepted and case.error and not excused(case)]
    for case in against[:1]:
        # One process answered for all: had a spec changed it, what came later would be refused for nothing.
        with VllmValidator(engine, environment={**kept, **environment}) as fresh:
            answer = fresh.configure(in_folder(case.judged.arguments, folder))
        assert "error" in answer, f"a spec drawn before {case.seed} changed vLLM's process: {case.error}"
    if REPORT:
        report(found, version=version)
    return found


def report(cases: list[Case], *, version: str) -> None:
    """Adds how the verdicts went for a release to the file that DRAWN_REPORT names."""
    path = Path(REPORT)
    accepted = [case for case in cases if case.judged.accepted]
    of_this_machine = [case for case in accepted if case.error and excused(case)]
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows[version] = {
        "specs": len(cases),
        "acceptedByBoth": sum(case.error is None for case in accepted),
        "acceptedButForThisMachine": len(of_this_machine),
        "acceptedByTheOperatorAlone": sum(case.error is not None for case in accepted) - len(of_this_machine),
        "refusedByBoth": sum(case.error is not None for case in cases if not case.judged.accepted),
        "refusedByTheOperatorAloneWithAReason": sum(case.error is None for case in cases if not case.judged.accepted),
    }
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def excused(case: Case) -> bool:
    """Whether vLLM refuses it for want of something that this machine has not."""
    return case.error is not None and any(re.search(known, case.error) for known in OF_THIS_MACHINE)


def test_what_the_operator_accepts_vllm_accepts(cases: list[Case]) -> None:
    wrong = {
        case.seed: (case.drawn, case.error)
        for case in cases
        if case.judged.accepted and case.error and not excused(case)
    }

    assert wrong == {}


def test_what_the_operator_refuses_vllm_refuses_or_there_is_a_reason(cases: list[Case]) -> None:
    refused = [case for case in cases if not case.judged.accepted]
    alone = [case for case in refused if case.error is None]
    rules = BROKEN_RULES_VLLM_LACKS.keys() | SELDOM_BROKEN.keys()
    known = REFUSED_BY_THE_OPERATOR_ALONE.keys() | SELDOM_MET.keys()
    wrong = {
        case.seed: (case.drawn, case.broken_rule, case.reasons - known)
        for case in alone
        if case.reasons - known or (case.broken_rule is not None and case.broken_rule not in rules)
    }

    assert len(refused) >= min(LEAST_REFUSED, len(cases) // 3)
    assert wrong == {}


@whole_sample
def test_every_reason_to_differ_is_one_that_was_met(installed: list[Case]) -> None:
    alone = [case for case in installed if not case.judged.accepted and case.error is None]
    met = set().union(*(case.reasons for case in alone))

    assert REFUSED_BY_THE_OPERATOR_ALONE.keys() - met == set()
    assert BROKEN_RULES_VLLM_LACKS.keys() - {case.broken_rule for case in alone} == set()


@whole_sample
def test_every_rule_has_refused_something(installed: list[Case]) -> None:
    hits = Counter(rule for case in installed for rule in set(case.judged.rules))
    rare = {rule for rule in refusal_rules() if hits[rule] < LEAST_HITS}

    assert {rule.check for rule in rare} == MET_ELSEWHERE.keys()


@whole_sample
def test_every_allowed_flag_was_accepted_by_both(cases: list[Case]) -> None:
    release = engine_version(str(cases[0].drawn.vllm["version"]))
    assert isinstance(release, EngineVersion)
    names = {spelling: flag for flag in release.flags.values() for spelling in flag.spellings}
    said = {
        names[word.partition("=")[0]].flag
        for case in cases
        if case.judged.accepted and (case.error is None or excused(case))
        for word in case.drawn.vllm.get("extraArgs", ())
        if word.partition("=")[0] in names
    }

    assert {flag.flag for flag in release.flags.values() if flag.mark == "allowed"} - said == set()
