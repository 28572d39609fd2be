"""The step time of a variant's engines, learned from their counters: ridge regression towards the prior.

step = b0 + b1 x prefill tokens + b2 x decoding sequences. The coefficients weigh tokens against each other; they are
no truth to show: when prefill and concurrency move together b1 absorbs part of b2. Source: design, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from inference_fleet.engine.step_time import StepTimeModel

# A tick of one pod teaches if it took this many steps and wrote this many tokens.
FEWEST_STEPS: Final = 20.0
FEWEST_TOKENS: Final = 20.0
# So many steps count as one full observation.
FULL_STEPS: Final = 400.0
KEPT_PER_FIT: Final = 0.9995
# The prior weighs as much as this error of a step, per coefficient.
PRIOR_ERROR_SECONDS: Final = 0.01
SMALLEST_SECONDS: Final = (1e-4, 1e-7, 1e-7)
# Slower steps are those of an engine that swaps or hangs.
SLOWEST_SECONDS: Final = 2.0
# Full observations before the fit is taken for knowledge.
KNOWN_OBSERVATIONS: Final = 5.0
# Every tick in the first ten minutes, then about once a minute.
YOUNG_SECONDS: Final = 600.0
OLD_INTERVAL_SECONDS: Final = 55.0


_UpperTriangle = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class StepSample:
    """One pod over one tick. prefill_tokens, sequences: means per step; seconds: mean time between two tokens."""

    seconds: float
    prefill_tokens: float
    sequences: float
    steps: float


@dataclass(frozen=True)
class StepTimeFit:
    """Sums of the regression: `a` the upper triangle of A (00 01 02 11 12 22), `r` the right-hand side."""

    a: _UpperTriangle = (0.0,) * 6
    r: tuple[float, float, float] = (0.0,) * 3
    fitted_at: float | None = None

    def learned(self, samples: Sequence[StepSample], *, now: float) -> StepTimeFit:
        """With the samples of one tick."""
        a00, a01, a02, a11, a12, a22 = self.a
        r0, r1, r2 = self.r
        count = 0
        for sample in samples:
            if sample.seconds > SLOWEST_SECONDS:
                continue
            weight = min(1.0, sample.steps / FULL_STEPS)
            prefill, sequences, seconds = sample.prefill_tokens, sample.sequences, sample.seconds
            a00 += weight
            a01 += weight * prefill
            a02 += weight * sequences
            a11 += weight * prefill * prefill
            a12 += weight * prefill * sequences
            a22 += weight * sequences * sequences
            r0 += weight * seconds
            r1 += weight * seconds * prefill
            r2 += weight * seconds * sequences
            count += 1
        if not count:
            return self
        kept = KEPT_PER_FIT
        return StepTimeFit(
            a=(a00 * kept, a01 * kept, a02 * kept, a11 * kept, a12 * kept, a22 * kept),
            r=(r0 * kept, r1 * kept, r2 * kept),
            fitted_at=now,
        )

    @property
    def known(self) -> bool:
        """Whether enough was seen to say what an engine cannot do."""
        return self.a[0] >= KNOWN_OBSERVATIONS

    def due(self, *, now: float, age: float) -> bool:
        """Whether samples of this tick are to be learned from. age: seconds since the scaler began."""
        if age <= YOUNG_SECONDS or self.fitted_at is None:
            return True
        return now - self.fitted_at >= OLD_INTERVAL_SECONDS

    def model(self, prior: StepTimeModel) -> StepTimeModel:
        """The step time that fits best."""
        return _best(self.a, self.r, prior)


# Asked for every tick, changed once a minute.
@lru_cache(maxsize=4096)
def _best(a: _UpperTriangle, r: tuple[float, float, float], prior: StepTimeModel) -> StepTimeModel:
    """A coefficient that would be negative is dropped and the others solved anew."""
    told = (prior.base_seconds, prior.per_prefill_token_seconds, prior.per_decoding_sequence_seconds)
    before = [max(value, least) for value, least in zip(told, SMALLEST_SECONDS, strict=True)]
    ridge = [(PRIOR_ERROR_SECONDS / value) ** 2 for value in before]
    a00, a01, a02, a11, a12, a22 = a
    matrix = (
        (a00 + ridge[0], a01, a02),
        (a01, a11 + ridge[1], a12),
        (a02, a12, a22 + ridge[2]),
    )
    right = [total + weight * value for total, weight, value in zip(r, ridge, before, strict=True)]
    used = [0, 1, 2]
    solved = [0.0, 0.0, 0.0]
    while used:
        found = _solve([[matrix[i][j] for j in used] for i in used], [right[i] for i in used])
        if min(found) >= 0:
            for place, value in zip(used, found, strict=True):
                solved[place] = value
            break
        used = [place for place, value in zip(used, found, strict=True) if value >= 0]
    base, prefill, sequence = (max(value, least) for value, least in zip(solved, SMALLEST_SECONDS, strict=True))
    return StepTimeModel(base_seconds=base, per_prefill_token_seconds=prefill, per_decoding_sequence_seconds=sequence)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination; the ridge keeps the matrix positive definite, so no pivot search."""
    size = len(right)
    for i in range(size):
        pivot = matrix[i][i]
        for j in range(i + 1, size):
            factor = matrix[j][i] / pivot
            for k in range(i, size):
                matrix[j][k] -= factor * matrix[i][k]
            right[j] -= factor * right[i]
    for i in reversed(range(size)):
        right[i] = (right[i] - sum(matrix[i][k] * right[k] for k in range(i + 1, size))) / matrix[i][i]
    return right
