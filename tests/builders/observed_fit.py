"""What no formula gives: activations and graphs, fitted on every second log and judged on the others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builders.observed_starts import GIBIBYTE, ObservedStart, observed_starts

_WHOLE_GRAPH_SEQUENCES = 256
PARTS = {
    "activations": ("activationGib", "activation_bytes"),
    "CUDA graphs": ("cudaGraphGib", "cuda_graph_bytes"),
    "driver and communication": ("nonTorchGib", "runtime_bytes"),
}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """GiB = base + slope x size + experts, where a model has some."""

    base: float
    slope: float
    experts: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Absolute errors of one half in GiB, smallest first."""

    errors: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.errors)

    @property
    def ninth_tenth(self) -> float:
        return self.errors[int(0.9 * len(self.errors))]

    @property
    def largest(self) -> float:
        return self.errors[-1]

    def share_within(self, gib: float) -> float:
        return sum(error <= gib for error in self.errors) / len(self.errors)


def fitting_half(key: str) -> Sequence[ObservedStart]:
    return _fitted(key)[0::2]


def judging_half(key: str) -> Sequence[ObservedStart]:
    return _fitted(key)[1::2]


def activation_fit() -> Fit:
    """Over the logits of all sequences (numbers / 2^30), of models without experts or a tower."""
    half = fitting_half("activationGib")
    plain = [start for start in half if not _experts(start) and str(_architecture(start)).endswith("ForCausalLM")]
    return _fit(half, plain, key="activationGib", size=_logits)


def graph_fit() -> Fit:
    """Over the layers of a stage, of models without experts."""
    half = fitting_half("cudaGraphGib")
    return _fit(half, [start for start in half if not _experts(start)], key="cudaGraphGib", size=_layers)


def errors_of(starts: Sequence[ObservedStart], key: str, part: str) -> Errors:
    found = (abs(getattr(start.report, part) / GIBIBYTE - start.log[key]) for start in starts)
    return Errors(errors=tuple(sorted(found)))


def errors_of_the_sum(starts: Sequence[ObservedStart]) -> Errors:
    """Of those that logged all three."""
    whole = [start for start in starts if all(start.log.get(key) is not None for key, _ in PARTS.values())]
    found = (
        abs(sum(getattr(start.report, part) / GIBIBYTE - start.log[key] for key, part in PARTS.values()))
        for start in whole
    )
    return Errors(errors=tuple(sorted(found)))


def _fitted(key: str) -> Sequence[ObservedStart]:
    return [start for start in observed_starts() if start.fitted_release and start.log.get(key) is not None]


def _fit(
    half: Sequence[ObservedStart],
    plain: Sequence[ObservedStart],
    *,
    key: str,
    size: Callable[[ObservedStart], float],
) -> Fit:
    line = statistics.linear_regression([size(start) for start in plain], [start.log[key] for start in plain])
    rest = [start.log[key] - line.intercept - line.slope * size(start) for start in half if _experts(start)]
    return Fit(base=line.intercept, slope=line.slope, experts=statistics.median(rest))


def _experts(start: ObservedStart) -> bool:
    return bool(start.case.facts and start.case.facts.num_local_experts)


def _architecture(start: ObservedStart) -> str | None:
    return start.case.facts.architecture if start.case.facts else None


def _logits(start: ObservedStart) -> float:
    assert start.case.facts is not None
    return start.case.limits.max_num_seqs * (start.case.facts.vocab_size or 0) / GIBIBYTE


def _layers(start: ObservedStart) -> float:
    assert start.case.facts is not None
    stages = start.case.model_parallel_size // start.case.tensor_parallel_size
    layers = -(-(start.case.facts.num_hidden_layers or 0) // stages)
    return layers * min(1.0, start.case.limits.max_num_seqs / _WHOLE_GRAPH_SEQUENCES)
