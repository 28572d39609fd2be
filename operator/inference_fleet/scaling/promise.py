"""The objectives as the scaler uses them, and which of them an idle replica cannot keep.

More replicas cannot make one engine faster: an objective below what an idle replica does is left out of the reckoning,
and said, instead of being paid for up to the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from inference_fleet.engine.metrics import judged_edge_seconds
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.misses import FIRST_TOKEN, PACE
from inference_fleet.scaling.types import DAY_SECONDS, ObjectiveLimit
from inference_fleet.scaling.violation_curve import ViolationCurve

# Of a deployment that promises none: saturation is then all that counts.
DEFAULT_FIRST_TOKEN_SECONDS: Final = 2.5
DEFAULT_PACE_SECONDS: Final = 0.2
DEFAULT_TARGET: Final = 0.99
# So many requests at quiet loads before their misses are taken for unavoidable.
KNOWN_REQUESTS: Final = 2000.0


@dataclass(frozen=True)
class Promise:
    """objectives: those that can be kept. Seconds, share of 1 and window: the tightest of them, defaults without any.

    unreachable: words on what cannot be kept, empty if all can.
    """

    objectives: tuple[ObjectiveLimit, ...]
    first_token_seconds: float
    pace_seconds: float
    target: float
    window_seconds: float = DAY_SECONDS
    unreachable: str = ""


def promise_of(objectives: Sequence[ObjectiveLimit], fastest: StepTimeModel | None, *, mean_prompt: float) -> Promise:
    """What can be promised. fastest: learned step time of the fastest variant, None while nothing is learned;
    mean_prompt: tokens. What is counted at an edge below an idle replica's latency is late on every fleet, too.
    """
    tightest = _tightest(tuple(objectives))
    if fastest is None:
        return tightest
    kept: list[ObjectiveLimit] = []
    words: list[str] = []
    first = fastest.step_seconds(prefill_tokens=mean_prompt, decoding_sequences=0)
    token = fastest.step_seconds(prefill_tokens=0, decoding_sequences=1)
    for objective in objectives:
        # What one mean request alone on a replica takes, to its first token or per token.
        idle = first if objective.metric == FIRST_TOKEN else token
        limit, edge = objective.threshold_seconds, judged_edge_seconds(objective.metric, objective.threshold_seconds)
        if idle > limit or idle > edge:
            promised = f"{1000 * limit:g} ms are promised"
            if idle <= limit:
                promised += f" and judged at {1000 * edge:g} ms"
            words.append(f"{objective.name}: an idle replica needs {_rounded(1000 * idle)} ms, {promised}")
        else:
            kept.append(objective)
    return changed(_tightest(tuple(kept)), unreachable="; ".join(words)) if words else tightest


def default_promise() -> str:
    """In words, what a deployment without objectives is scaled for."""
    return (
        f"{100 * DEFAULT_TARGET:g} % within {DEFAULT_FIRST_TOKEN_SECONDS:g} s to the first token"
        f" and {1000 * DEFAULT_PACE_SECONDS:g} ms a token"
    )


def unavoidable_share(curve: ViolationCurve, *, target: float) -> float:
    """The share of requests that miss at the quietest loads known, if that alone breaks the target; else 0."""
    requests, misses = curve.calmest(KNOWN_REQUESTS)
    share = misses / requests if requests >= KNOWN_REQUESTS else 0.0
    return share if share > 1 - target else 0.0


def _rounded(value: float) -> str:
    """Three digits, never as a power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# Asked for every tick, the same for days.
@lru_cache(maxsize=4096)
def _tightest(objectives: tuple[ObjectiveLimit, ...]) -> Promise:
    return Promise(
        objectives=objectives,
        first_token_seconds=_threshold(objectives, FIRST_TOKEN, DEFAULT_FIRST_TOKEN_SECONDS),
        pace_seconds=_threshold(objectives, PACE, DEFAULT_PACE_SECONDS),
        target=max([objective.target for objective in objectives], default=DEFAULT_TARGET),
        window_seconds=min([objective.window_seconds for objective in objectives], default=DAY_SECONDS),
    )


def _threshold(objectives: Sequence[ObjectiveLimit], metric: str, default: float) -> float:
    return min([o.threshold_seconds for o in objectives if o.metric == metric], default=default)
