"""The head of benchmarks/scaling.md: every goal with what was reached, and which rival is better on which trace.

All of it from the recorded results, so that the page says what they say.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_fleet.simulation.course import FrontierPoint
from inference_fleet.simulation.documents import dominates, geometric_mean
from inference_fleet.simulation.documents import ratio_of as ratio_to_optimum

Document = Mapping[str, Any]

TARGET_PERCENT = 99.0
# Attainment is measured on a sample of requests: a miss smaller than this is none.
TOLERANCE_POINTS = 0.005
# A rival keeps as much if it keeps no more than this less.
AS_MUCH_POINTS = 0.1
OWN = "fleet"
STATIC = ("static", "static tuned")
RAMP_RIVAL = "llm-d-slo-aware"
FEWER_THAN_RIVALS = 0.25
# In the names of cases whose engines have a limited queue.
LIMITED_QUEUE = "queue of"
WITH_RIVALS = ("suite", "recorded", "unseen", "days")


@dataclass(frozen=True)
class Goal:
    """One demand. met: None where nothing is demanded but a report, or where nothing was run."""

    demand: str
    goal: str
    reached: str
    met: bool | None
    where: str


def name_of(run: Document) -> str:
    """The policy for people."""
    return str(run["policy"]["name"]) + (" tuned" if run["policy"]["tuned"] else "")


def ratio_of(run: Document, document: Document) -> float | None:
    """Cost by the optimum's at the attainment of the run; None without an optimum."""
    points = {
        (each["trace"], each["seed"]): tuple(
            FrontierPoint(p["attainmentPercent"], p["replicaHours"], p["cost"]) for p in each["frontier"]
        )
        for each in document["optimum"]
    }
    return ratio_to_optimum(dict(run), points)


def reach(document: Document) -> dict[tuple[str, int], float]:
    """The most that any course of the optimum keeps, by trace and seed."""
    return {
        (each["trace"], each["seed"]): max((p["attainmentPercent"] for p in each["frontier"]), default=0.0)
        for each in document["optimum"]
    }


def goals_table(documents: Mapping[str, Document], results: Mapping[str, Document]) -> str:
    """Every goal. results: the other files beside scaling.json, by their names."""
    rows = ["| demand | goal | reached | | where |", "|---|---|---|---|---|"]
    for goal in goals(documents, results):
        verdict = {True: "met", False: "**missed**", None: ""}[goal.met]
        rows.append(f"| {goal.demand} | {goal.goal} | {goal.reached} | {verdict} | {goal.where} |")
    return "\n".join(rows)


def goals(documents: Mapping[str, Document], results: Mapping[str, Document]) -> Iterator[Goal]:
    """In the order of the page."""
    yield from _ratios(documents)
    yield _kept(documents)
    yield _days(documents)
    yield _flash(documents)
    yield from _against_rivals(documents)
    yield from _ramp(documents)
    yield from _circumstances(documents)
    yield from _elsewhere(results)


def _own(document: Document) -> list[Document]:
    return [run for run in document["runs"] if name_of(run) == OWN]


def _key(run: Document) -> tuple[str, int]:
    return run["scenario"]["trace"], run["scenario"]["seed"]


def _class(run: Document) -> str:
    return str(run["scenario"]["traceClass"])


def _ratios(documents: Mapping[str, Document]) -> Iterator[Goal]:
    """Over traces where 99 % can be kept; flash crowds apart."""
    for label, wanted, classes in (
        ("over all", 1.15, ("smooth", "bursty")),
        ("on smooth traces", 1.08, ("smooth",)),
        ("on bursty traces", 1.30, ("bursty",)),
    ):
        said, worst = [], 0.0
        for part in ("suite", "recorded"):
            document = documents.get(part, {"runs": [], "optimum": []})
            best = reach(document)
            runs = [r for r in _own(document) if best.get(_key(r), 0.0) >= TARGET_PERCENT and _class(r) in classes]
            mean = geometric_mean([ratio for run in runs if (ratio := ratio_of(run, document)) is not None])
            if mean is not None:
                name = {"suite": "synthetic", "recorded": "recorded"}[part]
                said.append(f"{mean:.2f} ({name}, {len(runs)} run{'s' * (len(runs) > 1)})")
                worst = max(worst, mean)
        demand = f"Cost by the optimum's that keeps as much, geometric mean {label}"
        yield Goal(demand, f"<= {wanted}", _said(said), worst <= wanted if said else None, "suite, recorded")


def _kept(documents: Mapping[str, Document]) -> Goal:
    runs = []
    for part in WITH_RIVALS:
        document = documents.get(part, {"runs": [], "optimum": []})
        best = reach(document)
        runs += [r for r in _own(document) if _class(r) != "flash" and best.get(_key(r), 100.0) >= TARGET_PERCENT]
    kept = [run for run in runs if _attained(run) >= TARGET_PERCENT - TOLERANCE_POINTS]
    missed: dict[str, list[float]] = {}
    for run in runs:
        if run not in kept:
            missed.setdefault(run["scenario"]["trace"], []).append(_attained(run))
    words = [f"{len(kept)} of {len(runs)} runs"]
    words += [f"{trace} {statistics.fmean(shares):.2f} %" for trace, shares in missed.items()]
    demand = "99 % kept on every trace and day where the optimum can (flash crowds apart)"
    return Goal(demand, "all", "; ".join(words), not missed if runs else None, "suite, recorded, unseen, days")


def _days(documents: Mapping[str, Document]) -> Goal:
    document = documents.get("days", {"runs": [], "optimum": []})
    fixed = {_key(run): run["result"] for run in document["runs"] if name_of(run) == "static tuned"}
    said, met = [], []
    for run in _own(document):
        if (static := fixed.get(_key(run))) is None:
            continue
        saved = 100 * (1 - run["result"]["replicaHours"] / static["replicaHours"])
        words = f"kept {_attained(run):.2f}, fixed {static['attainmentPercent']:.2f}"
        if (foreseen := _foreseen(run, document, beside=static["replicaHours"])) is not None:
            words += f"; the optimum {100 * foreseen:.0f} % fewer"
        said.append(f"{run['scenario']['trace']} {saved:.0f} % fewer ({words})")
        met.append(saved >= 45 and _attained(run) >= TARGET_PERCENT - TOLERANCE_POINTS)
    demand = "Days that differ: replica-hours beside the best fixed fleet in hindsight"
    return Goal(demand, ">= 45 % fewer, at 99 %", _said(said), all(met) if met else None, "days")


def _flash(documents: Mapping[str, Document]) -> Goal:
    document = documents.get("suite", {"runs": []})
    runs = [run for run in document["runs"] if _class(run) == "flash" and run["scenario"]["seed"] == 0]
    own = [run["result"] for run in runs if name_of(run) == OWN]
    fixed = [run["result"] for run in runs if name_of(run) == "static tuned"]
    demand = "Flash crowds: kept, beside the best fixed fleet that costs no more"
    if not own or not fixed:
        return Goal(demand, "not below", "not run", None, "suite")
    reached = (
        f"{own[0]['attainmentPercent']:.2f} % at {own[0]['cost']:.1f}; fixed {fixed[0]['attainmentPercent']:.2f} % at"
        f" {fixed[0]['cost']:.1f}"
    )
    below = fixed[0]["cost"] <= own[0]["cost"] and fixed[0]["attainmentPercent"] > own[0]["attainmentPercent"]
    return Goal(demand, "not below", reached, not below, "suite")


@dataclass(frozen=True)
class Beside:
    """The scaler on one trace (its first seed) beside the rivals. saved: share of the best shipped rival's
    replica-hours at the same attainment, or of its ratio to the optimum where none keeps as much (by_ratio); foreseen:
    the same share where the optimum is in the scaler's place and keeps what the scaler keeps, None without one."""

    part: str
    run: Document
    rival: Document | None
    saved: float | None
    foreseen: float | None
    by_ratio: bool
    better: tuple[str, ...]


def beside_rivals(documents: Mapping[str, Document]) -> Iterator[Beside]:
    """One for every trace that rivals were run on."""
    for part in WITH_RIVALS:
        document = documents.get(part, {"runs": [], "optimum": []})
        for run in _own(document):
            rivals = [
                each
                for each in document["runs"]
                if _key(each) == _key(run) and name_of(each) not in (OWN, *STATIC) and _attained(each) > 0
            ]
            if not rivals:
                continue
            better = tuple(name_of(each) for each in rivals if dominates(each["result"], run["result"]))
            shipped = [each for each in rivals if not each["policy"]["tuned"]]
            as_much = [each for each in shipped if _attained(each) >= _attained(run) - AS_MUCH_POINTS]
            if as_much:
                rival = min(as_much, key=_hours)
                foreseen = _foreseen(run, document, beside=_hours(rival))
                yield Beside(part, run, rival, 1 - _hours(run) / _hours(rival), foreseen, False, better)
                continue
            nearest = max(shipped, key=_attained, default=None)
            ratios = [ratio_of(each, document) for each in (run, nearest) if each is not None]
            if len(ratios) == 2 and ratios[0] and ratios[1]:
                yield Beside(part, run, nearest, 1 - ratios[0] / ratios[1], 1 - 1 / ratios[1], True, better)
            else:
                # One that keeps less for more needs no optimum beside it.
                saved = None if nearest is None else 1 - _hours(run) / _hours(nearest)
                yield Beside(part, run, nearest, saved if saved and saved > 0 else None, None, False, better)


def _foreseen(run: Document, document: Document, *, beside: float) -> float | None:
    """By what share the optimum that keeps as much as a run is below so many replica-hours; None without one."""
    ratio = ratio_of(run, document)
    return None if ratio is None else 1 - _hours(run) / ratio / beside


def _against_rivals(documents: Mapping[str, Document]) -> Iterator[Goal]:
    every = list(beside_rivals(documents))
    better = [f"{', '.join(each.better)} on {each.run['scenario']['trace']}" for each in every if each.better]
    yield Goal(
        "Traces where a rival, as shipped or tuned in hindsight, is as good in both and better in one by more than 0.1"
        " points or 3 %",
        "none",
        f"{len(better)} of {len(every)}" + (f": {'; '.join(better)}" if better else "") if every else "not run",
        not better if every else None,
        "[table](#beside-the-rivals)",
    )
    known = [each for each in every if each.saved is not None]
    less = [each for each in known if each.saved is not None and each.saved < FEWER_THAN_RIVALS]
    said = [f"{each.run['scenario']['trace']} {100 * (each.saved or 0.0):.0f} %" for each in less]
    beyond = sum(each.foreseen is not None and each.foreseen < FEWER_THAN_RIVALS for each in less)
    reached = f"{len(known) - len(less)} of {len(known)} traces"
    if less:
        reached += f"; less on {', '.join(said)}"
        reached += f"; on {beyond} of these the optimum is no {100 * FEWER_THAN_RIVALS:.0f} % below the rival"
    yield Goal(
        "Replica-hours beside the best rival as shipped at the same attainment",
        ">= 25 % fewer",
        reached,
        not less if known else None,
        "[table](#beside-the-rivals)",
    )


def rivals_table(documents: Mapping[str, Document]) -> str:
    """Trace by trace: the best rival as shipped that keeps as much, and who is better."""
    rows = [
        "| trace | kept % | replica-hours | best rival as shipped | kept % | replica-hours | fewer by | the optimum |"
        " better |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in beside_rivals(documents):
        rival = ["-", "-", "-"]
        if each.rival is not None:
            rival = [name_of(each.rival), f"{_attained(each.rival):.2f}", f"{_hours(each.rival):.1f}"]
        saved = "-" if each.saved is None else f"{100 * each.saved:.0f} %{' (ratio)' if each.by_ratio else ''}"
        foreseen = "-" if each.foreseen is None else f"{100 * each.foreseen:.0f} %"
        own = [each.run["scenario"]["trace"], f"{_attained(each.run):.2f}", f"{_hours(each.run):.1f}"]
        cells = [*own, *rival, saved, foreseen]
        rows.append(f"| {' | '.join(cells)} | {', '.join(each.better) or 'none'} |")
    return "\n".join(rows)


def _ramp(documents: Mapping[str, Document]) -> Iterator[Goal]:
    document = documents.get("ramp", {"runs": []})
    for name, demand, goal, judged in (
        (OWN, "llm-d's ramp (six seeds): kept, at replicas", ">= 98 % at <= 5.93", _beats_llm_d),
        (RAMP_RIVAL, "The same with our copy of llm-d's rule, which published 95.8 % at 5.93", "near", None),
    ):
        groups: dict[float, list[Document]] = {}
        for run in document["runs"]:
            if name_of(run) == name:
                groups.setdefault(run["scenario"]["coldStartSeconds"]["mean"], []).append(run["result"])
        means = {
            seconds: tuple(statistics.fmean(r[key] for r in each) for key in ("attainmentPercent", "meanReplicas"))
            for seconds, each in groups.items()
        }
        said = [f"{kept:.1f} % at {mean:.2f} (starts of {seconds:g} s)" for seconds, (kept, mean) in means.items()]
        met = None if judged is None or 120.0 not in means else judged(*means[120.0])
        yield Goal(demand, goal, _said(said), met, "ramp")


def _beats_llm_d(kept: float, replicas: float) -> bool:
    return kept >= 98.0 and replicas <= 5.93


def _limited_queues(documents: Mapping[str, Document], limited: Sequence[Document]) -> Goal:
    """What engines that turn requests away make of the same traces of the suite, all seeds on average."""
    without = _own(documents.get("suite", {"runs": []}))
    said = []
    for trace in dict.fromkeys(run["scenario"]["trace"] for run in limited):
        plain = trace.partition(f", {LIMITED_QUEUE}")[0]
        both = [
            tuple(statistics.fmean(run["result"][key] for run in each) for key in ("attainmentPercent", "meanReplicas"))
            for each in (
                [run for run in without if run["scenario"]["trace"] == plain],
                [run for run in limited if run["scenario"]["trace"] == trace],
            )
            if each
        ]
        said.append(f"{plain} " + " -> ".join(f"{kept:.1f} % at {replicas:.1f}" for kept, replicas in both))
    demand = "What a limit of the engines' queue can do (requests turned away count as missed): kept, at replicas"
    return Goal(demand, "built, or shown not to pay", _said(said), bool(said) or None, "conditions")


def _circumstances(documents: Mapping[str, Document]) -> Iterator[Goal]:
    document = documents.get("conditions", {"runs": [], "optimum": []})
    every = _own(document)
    own = [run for run in every if LIMITED_QUEUE not in run["scenario"]["trace"]]
    ratios = [ratio for run in own if (ratio := ratio_of(run, document)) is not None]
    said = [f"{len(own)} cases"] if own else []
    if ratios:
        said.append(f"{sum(_attained(r) >= TARGET_PERCENT for r in own)} keep 99 %, ratios {_span(ratios, '.2f')}")
    demand = "Starts of 60 and 300 s, random routing, 30 % model error, another model and accelerator"
    yield Goal(demand, "reported", "; ".join(said) or "not run", None, "conditions")
    yield _limited_queues(documents, [run for run in every if LIMITED_QUEUE in run["scenario"]["trace"]])
    document = documents.get("variants", {"runs": [], "optimum": []})
    said, met = [], []
    for run in _own(document):
        trace, _, which = run["scenario"]["trace"].partition(", ")
        ratio = ratio_of(run, document)
        alone = [
            each["result"]["cost"]
            for each in _own(document)
            if each["scenario"]["trace"].startswith(f"{trace}, ") and each["scenario"]["trace"].endswith(" alone")
        ]
        if which == "both" and ratio is not None and alone:
            dearer = 100 * (run["result"]["cost"] / min(alone) - 1)
            said.append(f"{trace} {ratio:.2f} times, {dearer:+.0f} % (kept {_attained(run):.2f})")
            met.append(ratio <= 1.30 and dearer <= 3)
    demand = "Two variants: by the optimum over both; cost beside the better one alone"
    yield Goal(demand, "<= 1.30; <= +3 %", _said(said), all(met) if met else None, "variants")


def _elsewhere(results: Mapping[str, Document]) -> Iterator[Goal]:
    demand = (
        "Noise of 20 %: one turn a hold; idle: the minimum in bounded time; an hour without Prometheus: nothing moves"
    )
    yield Goal(demand, "as said", "tests", True, "`tests/unit/scaling/test_steadiness.py`, `test_decide.py`")
    if day := results.get("simulator"):
        seconds, goal = day["cpuSeconds"]["fleet"], day["goalCpuSeconds"]
        demand = f"A day of {day['requests']:,} requests, scaler included"
        yield Goal(demand, f"<= {goal:g} s of CPU", f"{seconds:.1f} s", seconds <= goal, _file("simulator"))
    if speed := results.get("decide"):
        slowest = max(each["medianMilliseconds"] for each in speed["decide"].values())
        goal = speed["goalDecideMilliseconds"]
        demand = f"One decision (fleets of {', '.join(speed['decide'])})"
        yield Goal(demand, f"< {goal:g} ms", f"{slowest:.2f} ms", slowest < goal, _file("decide"))
    if near := results.get("emulated"):
        errors = _errors(near["firstTokenSeconds"]), _errors(near["perTokenSeconds"])
        reached = f"first token {errors[0]}, per token {errors[1]} (50, 95, 99 %)"
        demand = "Simulated beside the emulated engine in wall-clock time"
        yield Goal(demand, "reported", reached, None, _file("emulated"))
    if real := results.get("real-engine"):
        said = []
        for words, learned in (("by the scaler's signals", "asTheScaler"), ("by latencies", "fromLatencies")):
            half = real[learned]["judgedHalf"]
            throughput = half["tokensPerSecond"]["errorPercent"]
            errors = f"first token {_errors(half['firstTokenSeconds'])}, per token {_errors(half['perTokenSeconds'])}"
            said.append(f"step learned {words}: throughput {throughput:+.1f} %, {errors}")
        demand = "Simulated beside real vLLM on CPU, learned on one half of a run, judged on the other"
        yield Goal(demand, "reported", "; ".join(said), None, _file("real-engine"))


def least_ratio(documents: Mapping[str, Document]) -> str:
    """The run that came nearest to the optimum, or below it: how good the search is."""
    found = [
        (ratio, f"{name_of(run)} on {run['scenario']['trace']}, seed {run['scenario']['seed']}")
        for document in documents.values()
        for run in document["runs"]
        if (ratio := ratio_of(run, document)) is not None and _attained(run) >= 90.0
    ]
    below = sum(1 for ratio, _ in found if ratio < 1)
    if not found:
        return ""
    return (
        f"How good the search for the optimum is: of {len(found)} runs that keep 90 % or more {below} cost less than it"
        f" at the same attainment; the least ratio is {min(found)[0]:.2f} ({min(found)[1]}).\n"
    )


def _said(words: Sequence[str]) -> str:
    return "; ".join(words) or "not run"


def _errors(quantiles: Document) -> str:
    return "/".join(f"{quantiles[name]['errorPercent']:+.0f}" for name in ("p50", "p95", "p99")) + " %"


def _file(name: str) -> str:
    return f"`results/{name}.json`"


def _span(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def _attained(run: Document) -> float:
    share = run["result"]["attainmentPercent"]
    return math.nan if share is None else float(share)


def _hours(run: Document) -> float:
    return float(run["result"]["replicaHours"])
