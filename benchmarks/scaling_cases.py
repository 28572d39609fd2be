"""What the scaling benchmark runs: traffic, engines and promises, fixed before anything was measured.

Synthetic traffic is always there; recorded traces are added where TRACES names a folder that has them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.simulation.fleet import FleetSettings, Routing, VariantModel
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.scenario import (
    LLAMA_8B_2H100,
    LLAMA_8B_A100,
    LLAMA_8B_L4,
    LLAMA_70B_4H100,
    QWEN_32B_2H100,
    Scenario,
    Workload,
    objectives_of,
)
from inference_fleet.simulation.synthetic import DAY, HOUR, RAMP, SHAPES, SUITE, generate, trace_class
from inference_fleet.simulation.traces import TraceRefusal, in_sequence, read_workload, scaled, window

TARGET = 0.99
RIVALS = tuple(name for name in POLICIES if name not in ("fleet", "static"))
SHIPPED = ("fleet", *RIVALS, "static-tuned")
TUNED = tuple(f"{name}-tuned" for name in RIVALS)
# The cheaper half of the rivals' best, for traces that take minutes a run.
FEW = ("fleet", "llm-d-slo-aware", "dynamo-planner", "static-tuned")
SEEDS = range(5)
# What an L4 prefills in about 1.7 s, beside a batch that decodes.
QUEUED_TOKENS = 8000

L4 = (VariantModel(name="l4", engine=LLAMA_8B_L4),)
A100 = (VariantModel(name="a100", engine=LLAMA_8B_A100),)
H100_8B = (VariantModel(name="2xh100", engine=LLAMA_8B_2H100),)
H100_70B = (VariantModel(name="4xh100", engine=LLAMA_70B_4H100),)
# A cheap and slow card beside a dear and fast one: the second costs three times as much and does about four times as
# much prefill, but no replica of it can be had in part.
BOTH = (
    VariantModel(name="l4", engine=LLAMA_8B_L4, cost_per_hour=1.0),
    VariantModel(name="a100", engine=LLAMA_8B_A100, cost_per_hour=3.0),
)


@dataclass(frozen=True)
class Case:
    """One row's traffic. seeds: of the policy `fleet`; the others run with the first alone. tuned: whether rivals are
    also run with the settings recorded for this case. optimum: whether it is sought, for the ratio."""

    part: str
    name: str
    load: Callable[[int], Workload]
    variants: tuple[VariantModel, ...] = L4
    first_seconds: float = 2.5
    pace_seconds: float = 0.2
    policies: tuple[str, ...] = SHIPPED
    seeds: Sequence[int] = (0,)
    min_replicas: int = 1
    max_replicas: int = 64
    start: int = 6
    routing: Routing = Routing.LEAST_OUTSTANDING
    model_error: float = 0.0
    tuned: bool = False
    optimum: bool = True

    def scenario(self, seed: int) -> Scenario:
        """The case with a seed."""
        workload = self.load(seed)
        return Scenario(
            workload=dataclasses.replace(workload, name=self.name),
            variants=self.variants,
            objectives=objectives_of(first_seconds=self.first_seconds, pace_seconds=self.pace_seconds, target=TARGET),
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
            start=(self.start, *(0 for _ in self.variants[1:])),
            settings=FleetSettings(routing=self.routing),
            seed=seed,
            model_error=self.model_error,
            trace_class=trace_class(workload.arrivals),
        )


def cases() -> tuple[Case, ...]:
    """All of them, the quick ones first."""
    folder = os.environ.get("TRACES")
    return (
        *_slice(),
        *_suite(),
        *_ramp(),
        *_conditions(),
        *_variants(),
        *(_recorded(Path(folder)) if folder else ()),
        *_days(),
    )


def _slice() -> tuple[Case, ...]:
    """Two short traces for the tests."""
    return tuple(
        Case("slice", f"{name}-40min", _shape(name, span_seconds=2400.0), policies=("fleet", "llm-d-slo-aware"))
        for name in ("chat-steady", "code-bursts")
    )


def _suite() -> tuple[Case, ...]:
    return tuple(
        Case("suite", shape.name, _shape(shape.name), seeds=SEEDS, tuned=True, policies=(*SHIPPED, *TUNED))
        for shape in SUITE
    )


def _ramp() -> tuple[Case, ...]:
    """llm-d's published benchmark: 3 to 8 replicas, 3 s and 100 ms. How long their replicas took to start is not
    published: three guesses."""
    two = (VariantModel(name="2xh100", engine=QWEN_32B_2H100),)
    base = Case(
        "ramp",
        RAMP.name,
        _shape(RAMP.name),
        variants=two,
        first_seconds=3.0,
        pace_seconds=0.1,
        min_replicas=3,
        max_replicas=8,
        start=3,
        seeds=range(6),
        policies=("fleet", "llm-d-slo-aware", "static:6", "static:7", "static:8"),
        optimum=False,
    )
    quicker = tuple(
        dataclasses.replace(
            base,
            name=f"{RAMP.name}, cold start {seconds:.0f} s",
            variants=_cold(two, seconds),
            policies=("fleet", "llm-d-slo-aware"),
        )
        for seconds in (60.0, 30.0)
    )
    return (base, *quicker)


def _conditions() -> tuple[Case, ...]:
    """Other circumstances, with the same constants."""
    found = []
    for name in ("chat-morning", "chat-bursts"):
        load = _shape(name)
        for label, changes in (
            ("cold start 60 s", {"variants": _cold(L4, 60.0)}),
            ("cold start 300 s", {"variants": _cold(L4, 300.0)}),
            ("random routing", {"routing": Routing.RANDOM}),
            ("engines 30 % slower than told", {"model_error": 0.3}),
            ("70B on 4 H100", {"variants": H100_70B, "load": _times(load, 4.0)}),
        ):
            case = Case("conditions", f"{name}, {label}", load, policies=("fleet",))
            found.append(dataclasses.replace(case, **changes))
    return (*found, *_limited_queues())


def _limited_queues() -> tuple[Case, ...]:
    """Engines that turn a request away rather than let it wait for most of its 2.5 s."""
    engine = dataclasses.replace(LLAMA_8B_L4, max_num_queued_tokens=QUEUED_TOKENS)
    return tuple(
        Case(
            "conditions",
            f"{name}, queue of {QUEUED_TOKENS:,} tokens",
            _shape(name),
            variants=(VariantModel(name="l4", engine=engine),),
            seeds=SEEDS,
            policies=("fleet",),
            optimum=False,
        )
        for name in ("chat-morning", "chat-bursts", "flash-crowd")
    )


def _variants() -> tuple[Case, ...]:
    """Both cards together, and each alone."""
    found = []
    for name in ("chat-morning", "chat-bursts"):
        for label, variants in (("both", BOTH), ("l4 alone", BOTH[:1]), ("a100 alone", BOTH[1:])):
            found.append(
                Case(
                    "variants",
                    f"{name}, {label}",
                    _times(_shape(name), 2.0),
                    variants=variants,
                    max_replicas=32,
                    policies=("fleet", "wva-v2") if label == "both" else ("fleet",),
                )
            )
    return tuple(found)


def _recorded(folder: Path) -> tuple[Case, ...]:
    """Recorded traces, at scales that ask for some four to twelve replicas."""

    def case(part: str, file: str, scale: float, hours: tuple[float, float], **changes: object) -> Case:
        name = file.removesuffix(".csv.gz")
        load = _file(folder / file, scale, hours)
        return dataclasses.replace(Case(part, name, load, tuned=True, policies=(*SHIPPED, *TUNED)), **changes)

    day, a100 = (0.0, 24.0), {"variants": A100, "pace_seconds": 0.075, "first_seconds": 1.0}
    return tuple(
        each
        for each in (
            case("recorded", "azure-2023-conv.csv.gz", 12, (0, 1), **a100),
            case(
                "recorded",
                "mooncake-conversation.csv.gz",
                8,
                (0, 1),
                variants=H100_8B,
                first_seconds=5.0,
                pace_seconds=0.1,
            ),
            case("recorded", "servegen-r1-morning.csv.gz", 2.5, (0, 12), variants=A100, pace_seconds=0.1),
            case("recorded", "servegen-mmid-day4.csv.gz", 5, (8, 20)),
            case("recorded", "servegen-mlarge-day0.csv.gz", 2.5, day),
            case("recorded", "servegen-mlarge-day2.csv.gz", 2.5, day),
            case("recorded", "servegen-msmall-day2.csv.gz", 5, (10, 22)),
            case("unseen", "servegen-mmid-day6.csv.gz", 5, (8, 20)),
            case("unseen", "servegen-mlarge-day8.csv.gz", 2.5, day),
            case("unseen", "servegen-msmall-day4.csv.gz", 5, (10, 22)),
            case("unseen", "servegen-msmall-day6.csv.gz", 5, (10, 22)),
        )
    )


def _days() -> tuple[Case, ...]:
    """Sequences of days, where a fleet that never changes is most in the wrong.

    The optimum of three weeks takes longer than all other runs together: only those of some days are sought.
    """
    found = [
        Case("days", "chat-days", _shape("chat-days"), policies=FEW),
        Case("days", "chat-weeks", _shape("chat-weeks"), policies=("fleet", "static-tuned"), optimum=False),
        Case("days", "daily-crowd", _shape("daily-crowd"), policies=("fleet", "static-tuned"), optimum=False),
    ]
    folder = Path(os.environ.get("TRACES") or "")
    if os.environ.get("TRACES"):
        for name, days, scale in (
            ("m-small days 2, 4, 6", "msmall-day", 5.0),
            ("m-large days 0, 2, 8", "mlarge-day", 2.5),
        ):
            numbers = (2, 4, 6) if days == "msmall-day" else (0, 2, 8)
            files = [folder / f"servegen-{days}{number}.csv.gz" for number in numbers]
            found.append(Case("days", name, _sequence(files, scale), policies=FEW))
    return tuple(found)


def _shape(name: str, **changes: float) -> Callable[[int], Workload]:
    return lambda seed: generate(dataclasses.replace(SHAPES[name], **changes), seed=seed)


def _times(load: Callable[[int], Workload], factor: float) -> Callable[[int], Workload]:
    return lambda seed: scaled(load(seed), factor, seed=seed)


def _file(path: Path, scale: float, hours: tuple[float, float]) -> Callable[[int], Workload]:
    begin, end = hours

    def load(seed: int) -> Workload:
        part = window(_read(path), start_seconds=begin * HOUR, duration_seconds=(end - begin) * HOUR)
        return scaled(part, scale, seed=seed)

    return load


def _sequence(paths: Sequence[Path], scale: float) -> Callable[[int], Workload]:
    def load(seed: int) -> Workload:
        return scaled(in_sequence([_read(path) for path in paths], period_seconds=DAY), scale, seed=seed)

    return load


def _read(path: Path) -> Workload:
    workload = read_workload(path)
    if isinstance(workload, TraceRefusal):
        raise SystemExit(str(workload))
    return workload


def _cold(variants: tuple[VariantModel, ...], seconds: float) -> tuple[VariantModel, ...]:
    return tuple(dataclasses.replace(variant, cold_start_seconds=seconds) for variant in variants)
