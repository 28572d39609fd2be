"""What the scaling benchmark has computed before it does not compute again; what it has not, it does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delenv("TRACES", raising=False)
    import scaling  # type: ignore[import-not-found]

    module: ModuleType = scaling
    return module


def job_of(scaling: ModuleType, what: str, **facts: Any) -> Any:
    case = scaling.cases()[0]
    return scaling.Job(**{"part": case.part, "case": case.name, "seed": 0, "what": what, **facts})


def with_engine(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    case, *others = scaling.cases()
    variant, *rest = case.variants
    changed = dataclasses.replace(variant, engine=dataclasses.replace(variant.engine, **changes))
    case = dataclasses.replace(case, variants=(changed, *rest))
    monkeypatch.setattr(scaling, "cases", lambda: [case, *others])


@pytest.mark.parametrize("what", ["fleet", "llm-d-slo-aware", "optimum"])
def test_another_seed_or_engine_is_another_run(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    known = scaling._file(job_of(scaling, what))
    assert scaling._file(job_of(scaling, what)) == known
    assert scaling._file(job_of(scaling, what, seed=1)) != known
    with_engine(scaling, monkeypatch, max_num_seqs=7)
    assert scaling._file(job_of(scaling, what)) != known


def test_a_limit_of_the_queue_counts_where_it_is_set(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    known = scaling._file(job_of(scaling, "llm-d-slo-aware"))
    with_engine(scaling, monkeypatch, max_num_queued_tokens=8000)
    limited = scaling._file(job_of(scaling, "llm-d-slo-aware"))
    with_engine(scaling, monkeypatch, max_num_queued_tokens=None)
    assert limited != known
    assert scaling._file(job_of(scaling, "llm-d-slo-aware")) == known


def test_what_was_run_before_there_were_limits_still_stands(
    scaling: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = scaling._file(job_of(scaling, "llm-d-slo-aware"))
    monkeypatch.setattr(scaling, "LATER", ())
    assert scaling._file(job_of(scaling, "llm-d-slo-aware")) != known, "an unset limit is no part of the name"


def test_a_changed_scaler_runs_again_and_rivals_do_not(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, rival = job_of(scaling, "fleet"), job_of(scaling, "llm-d-slo-aware")
    known = scaling._file(fleet), scaling._file(rival)
    monkeypatch.setattr(scaling, "_scaler", lambda: "changed")
    assert scaling._file(fleet) != known[0]
    assert scaling._file(rival) == known[1]
