"""Many runs: in this process, in several, or on a Dask cluster. A task and its answer are plain values that travel."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import active_children, get_context
from typing import Any

from inference_fleet.scaling.types import DAY_SECONDS
from inference_fleet.simulation.documents import Document, Frontier, simulate_document
from inference_fleet.simulation.optimum import frontier
from inference_fleet.simulation.policies.catalogue import POLICIES, TUNED_SUFFIX
from inference_fleet.simulation.policies.static import STATIC
from inference_fleet.simulation.run import Moment, Run, simulate
from inference_fleet.simulation.scenario import Scenario

TaskProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class RunTask:
    """One policy over one scenario. A name with the suffix -tuned is the cheapest setting of the policy's grid that
    keeps the target on this very trace, found in hindsight; with parameters, it is these, found before.
    """

    scenario: Scenario
    policy: str
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For progress bars."""
        return f"{self.policy} on {self.scenario.workload.name}, seed {self.scenario.seed}"


@dataclass(frozen=True, slots=True)
class OptimumTask:
    """The optimum of one scenario."""

    scenario: Scenario

    @property
    def label(self) -> str:
        """For progress bars."""
        return f"optimum of {self.scenario.workload.name}, seed {self.scenario.seed}"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run as its document, and the fleet over time for plots."""

    document: Document
    moments: tuple[Moment, ...]


Task = RunTask | OptimumTask


def known_policy(name: str) -> bool:
    """Whether there is a policy of this name."""
    kind = POLICIES.get(name.removesuffix(TUNED_SUFFIX))
    return kind is not None and (not name.endswith(TUNED_SUFFIX) or bool(kind.grid))


def perform(task: Task, *, progress: Callable[[float], None] | None = None) -> Finished | Frontier:
    """Do one task."""
    if isinstance(task, OptimumTask):
        scenario = task.scenario
        return Frontier(scenario.workload.name, scenario.seed, frontier(scenario, progress=progress))
    kind = POLICIES[task.policy.removesuffix(TUNED_SUFFIX)]
    if not task.policy.endswith(TUNED_SUFFIX):
        run = simulate(task.scenario, kind, parameters=task.parameters, progress=progress)
        return Finished(simulate_document(run), run.moments)
    if task.parameters:
        run = simulate(task.scenario, kind, parameters=task.parameters, progress=progress)
        return Finished(simulate_document(run, tuned=True), run.moments)
    if kind is STATIC:
        run = best_static(task.scenario, progress=progress)
        return Finished(simulate_document(run, tuned=True), run.moments)
    target = _target(task.scenario)
    best = None
    for number, parameters in enumerate(kind.grid):
        run = simulate(task.scenario, kind, parameters=parameters)
        share = _judged(run)
        # First those that keep the target, by cost; if none does, the one that comes nearest.
        rank = (share < target, run.outcome.cost if share >= target else -share)
        if best is None or rank < best[0]:
            best = (rank, Finished(simulate_document(run, tuned=True), run.moments))
        if progress is not None:
            progress((number + 1) / len(kind.grid))
    assert best is not None
    return best[1]


def best_static(scenario: Scenario, *, progress: Callable[[float], None] | None = None) -> Run:
    """The smallest fixed fleet of the first variant that keeps the target, in hindsight; the largest if none does.

    By bisection: more replicas never keep less (but for noise of routing, which the search ignores).
    """
    low, high = max(1, scenario.min_replicas), scenario.max_replicas
    found: Run | None = None
    span = max(1, high - low)
    size = low
    # Doubling first, because a fleet of the maximum may be far too large to be worth a run.
    while found is None:
        run = _static_run(scenario, size)
        if _judged(run) >= _target(scenario) or size >= high:
            found, high = run, size
        else:
            low, size = size + 1, min(high, 2 * size)
        if progress is not None:
            progress(0.5)
    while low < high:
        middle = (low + high) // 2
        run = _static_run(scenario, middle)
        if _judged(run) >= _target(scenario):
            found, high = run, middle
        else:
            low = middle + 1
        if progress is not None:
            progress(1 - (high - low) / (2 * span))
    return found


def _static_run(scenario: Scenario, replicas: int) -> Run:
    # The size stands from the beginning: this fleet never starts anything.
    standing = replace(scenario, start=(replicas, *(0 for _ in scenario.variants[1:])))
    run = simulate(standing, STATIC, parameters={"replicas": float(replicas)})
    return replace(run, scenario=scenario)


def _judged(run: Run) -> float:
    """As `judged_percent` of its document."""
    is_of_a_day = run.scenario.window_seconds >= DAY_SECONDS
    return run.outcome.attainment_percent if is_of_a_day else run.outcome.worst_window_percent


def _target(scenario: Scenario) -> float:
    return 100 * max((objective.target for objective in scenario.objectives), default=0.0)


def perform_all(
    tasks: Sequence[Task], *, jobs: int, dask: str | None = None, progress: TaskProgress | None = None
) -> list[Finished | Frontier]:
    """All tasks, answers in their order. jobs: local processes. dask: address of a scheduler instead of them."""
    if dask is None and jobs <= 1:
        return [perform(task, progress=_of(task, progress)) for task in tasks]
    answers: dict[int, Finished | Frontier] = {}
    with _executor(jobs=jobs, dask=dask) as executor:
        places: Mapping[Any, int] = {executor.submit(perform, task): place for place, task in enumerate(tasks)}
        try:
            for future in as_completed(places):
                place = places[future]
                answers[place] = future.result()
                if progress is not None:
                    progress(tasks[place].label, 1.0)
        except KeyboardInterrupt:
            # The executor would wait for runs of minutes that nobody wants any more.
            for process in active_children():
                process.terminate()
            raise
    return [answers[place] for place in range(len(tasks))]


def _of(task: Task, progress: TaskProgress | None) -> Callable[[float], None] | None:
    return None if progress is None else lambda share: progress(task.label, share)


def _executor(*, jobs: int, dask: str | None) -> Executor:
    if dask is None:
        # Fresh processes: a fork of one with threads can hang.
        return ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts)
    from distributed import Client

    executor: Executor = Client(dask).get_executor()
    return executor


def _leave_interrupts() -> None:
    """Ctrl-C goes to all processes of a terminal; the first one tells the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
