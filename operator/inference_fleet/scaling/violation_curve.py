"""The share of requests that miss their objective at a relative load: learned, isotonic, on a prior.

z = demand / replicas that serve. This curve is what capacity means: it knows nothing of why requests are late. Its
floor at small z is the share that no number of replicas can save. Source: design, section 3.3.

How sharply lateness sets in is learned too. A fleet of a hundred evens its requests out and may fill its replicas
further than one of five, but without noise it never sees a higher load than it was led to: with a prior of one width it
would keep half as many replicas again as it needs, for ever. So the prior is a mean over several widths, each by how
likely it makes what was seen at all loads. A load at which fewer are late than expected moves what is expected of the
next one, and the fleet feels its way up; the knee stays where replicas are full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

BINS: Final = 28
FIRST_CENTRE: Final = 0.15
RATIO: Final = 1.12
LOG_FIRST: Final = math.log(FIRST_CENTRE)
LOG_RATIO: Final = math.log(RATIO)
TIME_CONSTANT_SECONDS: Final = 6 * 3600.0
# Requests that the prior is worth, in every bin.
PRIOR_REQUESTS: Final = 400.0
PRIOR_FLOOR: Final = 0.0005
PRIOR_KNEE: Final = 1.08
# Of the logistic curve of ln z; the first is the usual one, and twenty times as likely as each of the sharper ones.
WIDTHS: Final = (0.085, 0.07, 0.058, 0.048, 0.04)
SHARPER_ODDS: Final = 0.05
# Late requests come together: so many tell as much as one by itself.
CLUMP: Final = 20.0
# The unit of z has changed when the seconds per prompt token by the usable share move by more than this.
UNIT_TOLERANCE: Final = 0.15
KEPT_ON_NEW_UNIT: Final = 0.1

# Bins of loads at which a replica is half idle.
CALM_BINS: Final = 11

_CENTRES: Final = tuple([LOG_FIRST + place * LOG_RATIO for place in range(BINS)])


def _prior(width: float) -> tuple[float, ...]:
    """Missing share by bin."""
    shares = [1 / (1 + math.exp(-(centre - math.log(PRIOR_KNEE)) / width)) for centre in _CENTRES]
    return tuple([min(max(PRIOR_FLOOR, share), 1 - PRIOR_FLOOR) for share in shares])


# By width; and by bin what each request and each late one add to a width's log likelihood.
_PRIORS: Final = tuple([_prior(width) for width in WIDTHS])
_PER_REQUEST: Final = tuple([tuple([math.log(1 - p) / CLUMP for p in prior]) for prior in _PRIORS])
_PER_MISS: Final = tuple([tuple([math.log(p / (1 - p)) / CLUMP for p in prior]) for prior in _PRIORS])
_LOG_ODDS: Final = (0.0, *[math.log(SHARPER_ODDS)] * (len(WIDTHS) - 1))
_PLACES: Final = range(BINS)
# In the first bins and in the last ones all widths expect the same. These are those between, where they differ.
_DIFFER: Final = [place for place in _PLACES if len({prior[place] for prior in _PRIORS}) > 1]
_ALIKE_BELOW, _ALIKE_FROM = _DIFFER[0], _DIFFER[-1] + 1
# Shares of all widths, bin by bin: of one that stands for the first bins, of those that differ, of one for the last.
_BY_BIN: Final = tuple(zip(*_PRIORS, strict=True))[_ALIKE_BELOW - 1 : _ALIKE_FROM + 1]
_NOTHING: Final = (0.0,) * BINS


class Curve(NamedTuple):
    """Missing share at the bins' centres, ascending."""

    shares: tuple[float, ...]

    @property
    def floor(self) -> float:
        """What no number of replicas can save."""
        return self.shares[0]

    def at(self, log_load: float) -> float:
        """The share at ln z, linear between the centres, flat beyond them."""
        place = (log_load - LOG_FIRST) / LOG_RATIO
        if place <= 0:
            return self.shares[0]
        if place >= BINS - 1:
            return self.shares[-1]
        low = int(place)
        share = self.shares[low]
        return share + (place - low) * (self.shares[low + 1] - share)


class ViolationCurve(NamedTuple):
    """Requests and misses seen per bin of z, decayed; the unit (seconds per prompt token) they were counted in."""

    requests: tuple[float, ...] = _NOTHING
    misses: tuple[float, ...] = _NOTHING
    unit: float | None = None

    def learned(
        self, *, load: float, requests: float, misses: float, seconds: float, unit: float | None
    ) -> ViolationCurve:
        """With one tick's requests at relative load `load`. seconds: since the last tick; unit: see the class."""
        kept = math.exp(-seconds / TIME_CONSTANT_SECONDS)
        base = self.unit if self.unit is not None else unit
        if base is not None and unit is not None and abs(unit / base - 1) > UNIT_TOLERANCE:
            kept, base = kept * KEPT_ON_NEW_UNIT, unit
        place = round((math.log(max(load, 1e-6)) - LOG_FIRST) / LOG_RATIO)
        place = min(max(place, 0), BINS - 1)
        counted = [value * kept for value in self.requests]
        missed = [value * kept for value in self.misses]
        counted[place] += requests
        missed[place] += min(requests, misses)
        return ViolationCurve(tuple(counted), tuple(missed), base)

    @property
    def calm(self) -> tuple[float, float]:
        """Requests and misses at loads that leave a replica half idle."""
        return sum(self.requests[:CALM_BINS]), sum(self.misses[:CALM_BINS])

    def calmest(self, enough: float) -> tuple[float, float]:
        """Requests and misses at the lowest of those loads at which so many requests were seen."""
        requests = misses = 0.0
        for seen, missed in zip(self.requests[:CALM_BINS], self.misses[:CALM_BINS], strict=True):
            requests += seen
            misses += missed
            if requests >= enough:
                break
        return requests, misses

    def curve(self) -> Curve:
        """The isotonic curve of what was seen on the prior."""
        weights = [value + PRIOR_REQUESTS for value in self.requests]
        # What was seen at low loads is what is expected of the low loads that were not seen: else more replicas would
        # look worth it where nothing can be saved.
        requests, misses = self.calm
        calm = PRIOR_REQUESTS * ((misses + PRIOR_REQUESTS * PRIOR_FLOOR) / (requests + PRIOR_REQUESTS))
        expected = self._expected(calm)
        shares = [
            (missed + prior) / weight for missed, prior, weight in zip(self.misses, expected, weights, strict=True)
        ]
        return Curve(isotonic(shares, weights))

    def _expected(self, calm: float) -> list[float]:
        """Late requests of the prior's, by bin: the mean over its widths. calm: those at the lowest loads."""
        # What is late at any load says nothing of how full replicas may be.
        always = max(0.0, calm / PRIOR_REQUESTS - PRIOR_FLOOR)
        seen = [
            (place, requests, max(0.0, misses - always * requests))
            for place, requests, misses in zip(_PLACES, self.requests, self.misses, strict=True)
            if requests
        ]
        # Most of what is seen is seen where all widths expect the same: it is added up for all of them at once.
        kept, late = _PER_REQUEST[0], _PER_MISS[0]
        terms = [
            requests * kept[place] + misses * late[place] for place, requests, misses in seen if place < _ALIKE_BELOW
        ]
        alike, apart = sum(terms), seen[len(terms) :]
        logs = [
            odds + sum([requests * kept[place] + misses * late[place] for place, requests, misses in apart], alike)
            for odds, kept, late in zip(_LOG_ODDS, _PER_REQUEST, _PER_MISS, strict=True)
        ]
        top = max(logs)
        likely = [math.exp(log - top) for log in logs]
        whole = sum(likely)
        # By hand, for speed: one pass over the bins.
        w0, w1, w2, w3, w4 = [weight / whole for weight in likely]
        shares = [w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 for s0, s1, s2, s3, s4 in _BY_BIN]
        # Fuller replicas are not expected to be late less often than calm ones.
        first, *differ, last = [more if (more := PRIOR_REQUESTS * share) > calm else calm for share in shares]
        return [first] * _ALIKE_BELOW + differ + [last] * (BINS - _ALIKE_FROM)


def isotonic(values: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """The nearest ascending series, by weighted least squares: pool adjacent violators. 3 1 2 -> 2 2 2."""
    pooled = list(values)
    # Of the block that ends at each place: its weight and where it begins.
    totals, begins = list(weights), list(range(len(values)))
    for place in range(1, len(pooled)):
        value, begin = pooled[place], place
        if value >= pooled[place - 1]:
            continue
        while begin and value < pooled[begin - 1]:
            total = totals[place] + totals[begin - 1]
            value = (value * totals[place] + pooled[begin - 1] * totals[begin - 1]) / total
            totals[place] = total
            begin = begins[begin - 1]
        pooled[begin : place + 1] = [value] * (place + 1 - begin)
        begins[place] = begin
    return tuple(pooled)
