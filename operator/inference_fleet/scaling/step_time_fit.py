"""The step time of a variant's engines, learned from their counters: Bayesian linear regression.

step = b0 + b1 x prefill tokens + b2 x decoding sequences. The prior is the roofline's estimate with its known error,
partly common to all three coefficients; how far samples scatter is estimated with them. What the load never shows
apart therefore keeps the proportions of the prior, and what it does show is believed within minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.pod_counters import PodChange

# A tick of one pod teaches if it took this many steps and wrote this many tokens.
FEWEST_STEPS: Final = 20.0
FEWEST_TOKENS: Final = 20.0
# So many steps count as one full observation.
FULL_STEPS: Final = 400.0
# With a fit a minute: what an engine did 200 minutes ago weighs a third.
KEPT_PER_FIT: Final = 0.995
# The prior's error as a share of it, half of all lie within: that of the factor common to all coefficients (device,
# version) and each one's own. Beside the roofline's estimate half of twenty published step times are off by 51 %, of
# sixteen prefill times by 40 %, but the ratio of the two by 34 % alone; what a sequence costs by 85 %, and up to
# twentyfold. Such long tails are Cauchy's.
COMMON_ERROR: Final = 0.45
OWN_ERRORS: Final = (0.34, 0.34, 0.85)
# Where the search for the most probable begins: at an error that lets samples speak.
FIRST_VARIANCE: Final = 25.0
# A coefficient is taken for no smaller than this share of its prior: costless tokens would make capacity endless.
SMALLEST_SHARE: Final = 0.05
# Scatter of a full observation as a share of the mean step: what is expected before samples say, worth so many of
# them; and the least that is believed, since no engine is quite linear.
EXPECTED_SCATTER: Final = 0.05
SCATTER_OBSERVATIONS: Final = 1.0
LEAST_SCATTER: Final = 0.01
SOLUTIONS: Final = 8
SMALLEST_SECONDS: Final = (1e-4, 1e-7, 1e-7)
# Slower steps are those of an engine that swaps or hangs.
SLOWEST_SECONDS: Final = 2.0
# Full observations before the fit is taken for knowledge.
KNOWN_OBSERVATIONS: Final = 5.0
# Every tick in the first ten minutes, then about once a minute.
YOUNG_SECONDS: Final = 600.0
OLD_INTERVAL_SECONDS: Final = 55.0


_UpperTriangle = tuple[float, float, float, float, float, float]
_Three = tuple[float, float, float]


class StepSample(NamedTuple):
    """One pod over one tick. prefill_tokens, sequences: means per step; seconds: mean time between two tokens."""

    seconds: float
    prefill_tokens: float
    sequences: float
    steps: float


def step_sample(change: PodChange) -> StepSample | None:
    """What a pod's counters say of its steps, None if too little.

    What sequences felt between two tokens weighs steps by their sequences. Prompts that nobody waited beside are
    missing there, so their tokens count by the share of the time in which somebody was.
    """
    if change.steps <= FEWEST_STEPS or change.inter_tokens <= FEWEST_TOKENS or change.inter_token_seconds <= 0:
        return None
    felt = change.inter_token_seconds / change.inter_tokens
    passed = change.seconds / change.steps
    return StepSample(
        seconds=felt,
        prefill_tokens=change.prompt / change.steps * min(1.0, felt / passed),
        sequences=change.inter_tokens / change.steps,
        steps=change.steps,
    )


@dataclass(frozen=True)
class StepTimeFit:
    """Sums of the regression: `a` the upper triangle of A (00 01 02 11 12 22), `r` the right-hand side; squares: of
    the seconds.
    """

    a: _UpperTriangle = (0.0,) * 6
    r: _Three = (0.0,) * 3
    squares: float = 0.0
    fitted_at: float | None = None

    def learned(self, samples: Sequence[StepSample], *, now: float) -> StepTimeFit:
        """With the samples of one tick."""
        a00, a01, a02, a11, a12, a22 = self.a
        r0, r1, r2 = self.r
        squares = self.squares
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
            squares += weight * seconds * seconds
            count += 1
        if not count:
            return self
        kept = KEPT_PER_FIT
        return StepTimeFit(
            a=(a00 * kept, a01 * kept, a02 * kept, a11 * kept, a12 * kept, a22 * kept),
            r=(r0 * kept, r1 * kept, r2 * kept),
            squares=squares * kept,
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
        """The step time that is most probable."""
        return _most_probable(self.a, self.r, self.squares, prior)


# Asked for every tick, changed once a minute.
@lru_cache(maxsize=4096)
def _most_probable(a: _UpperTriangle, r: _Three, squares: float, prior: StepTimeModel) -> StepTimeModel:
    """In shares of the prior, where its mean is (1, 1, 1).

    Solved for the variances of scatter and prior, then these for what is left: an error far out was drawn with a large
    variance (Cauchy's distribution as a mixture of normal ones).
    """
    told = (prior.base_seconds, prior.per_prefill_token_seconds, prior.per_decoding_sequence_seconds)
    d0, d1, d2 = (max(value, least) for value, least in zip(told, SMALLEST_SECONDS, strict=True))
    shares = (1.0, 1.0, 1.0)
    if a[0] > 0 and r[0] > 0:
        scaled = (a[0] * d0 * d0, a[1] * d0 * d1, a[2] * d0 * d2, a[3] * d1 * d1, a[4] * d1 * d2, a[5] * d2 * d2)
        right = (r[0] * d0, r[1] * d1, r[2] * d2)
        mean_squared = (r[0] / a[0]) ** 2
        expected = EXPECTED_SCATTER**2 * mean_squared
        scatter, common, own = LEAST_SCATTER**2 * mean_squared, FIRST_VARIANCE, (FIRST_VARIANCE,) * 3
        for _ in range(SOLUTIONS):
            shares = _shares(scaled, right, scatter=scatter, common=common, own=own)
            left = max(0.0, squares - _explained(scaled, right, shares))
            scatter = (SCATTER_OBSERVATIONS * expected + left) / (SCATTER_OBSERVATIONS + a[0])
            scatter = max(scatter, LEAST_SCATTER**2 * mean_squared)
            weights = [1 / variance for variance in own]
            factor = 1 / common + sum(share * weight for share, weight in zip(shares, weights, strict=True))
            factor /= 1 / common + sum(weights)
            common = _drawn_with(factor - 1, COMMON_ERROR)
            e0, e1, e2 = (_drawn_with(share - factor, usual) for share, usual in zip(shares, OWN_ERRORS, strict=True))
            own = e0, e1, e2
    base, prefill, sequence = (
        max(share * value, least) for share, value, least in zip(shares, (d0, d1, d2), SMALLEST_SECONDS, strict=True)
    )
    return StepTimeModel(base_seconds=base, per_prefill_token_seconds=prefill, per_decoding_sequence_seconds=sequence)


def _drawn_with(error: float, usual: float) -> float:
    """The variance that an error of the prior was probably drawn with."""
    return (usual * usual + error * error) / 2


def _explained(a: _UpperTriangle, r: _Three, b: _Three) -> float:
    """2 b'r - b'A b: what of the squares these coefficients account for."""
    b0, b1, b2 = b
    quadratic = a[0] * b0 * b0 + a[3] * b1 * b1 + a[5] * b2 * b2
    quadratic += 2 * (a[1] * b0 * b1 + a[2] * b0 * b2 + a[4] * b1 * b2)
    return 2 * (b0 * r[0] + b1 * r[1] + b2 * r[2]) - quadratic


def _shares(a: _UpperTriangle, r: _Three, *, scatter: float, common: float, own: _Three) -> _Three:
    """The posterior's mode. A share below the least is held there and the others are solved anew."""
    # The prior's precision, by Sherman and Morrison: the inverse of diag(own) + common 11'.
    w0, w1, w2 = scatter / own[0], scatter / own[1], scatter / own[2]
    joint = 1 / (scatter / common + w0 + w1 + w2)
    m00, m01, m02 = a[0] + w0 - joint * w0 * w0, a[1] - joint * w0 * w1, a[2] - joint * w0 * w2
    m11, m12, m22 = a[3] + w1 - joint * w1 * w1, a[4] - joint * w1 * w2, a[5] + w2 - joint * w2 * w2
    # Times its mean.
    towards = joint * scatter / common
    r0, r1, r2 = r[0] + towards * w0, r[1] + towards * w1, r[2] + towards * w2
    # Nearly always none is held: what `_solve` does, by hand, in a quarter of its time.
    f1, f2 = m01 / m00, m02 / m00
    n11, n12, y1 = m11 - f1 * m01, m12 - f1 * m02, r1 - f1 * r0
    f3 = (m12 - f2 * m01) / n11
    s2 = (r2 - f2 * r0 - f3 * y1) / (m22 - f2 * m02 - f3 * n12)
    s1 = (y1 - n12 * s2) / n11
    s0 = (r0 - (m01 * s1 + m02 * s2)) / m00
    if min(s0, s1, s2) >= SMALLEST_SHARE:
        return s0, s1, s2
    matrix = [[m00, m01, m02], [m01, m11, m12], [m02, m12, m22]]
    right = [r0, r1, r2]
    solved = [SMALLEST_SHARE] * 3
    free = [0, 1, 2]
    while free:
        held = [place for place in range(3) if place not in free]
        found = _solve(
            [[matrix[i][j] for j in free] for i in free],
            [right[i] - sum(matrix[i][j] * SMALLEST_SHARE for j in held) for i in free],
        )
        least = min(found)
        if least >= SMALLEST_SHARE:
            for place, value in zip(free, found, strict=True):
                solved[place] = value
            break
        del free[found.index(least)]
    return solved[0], solved[1], solved[2]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination; the prior keeps the matrix positive definite, so no pivot search."""
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
