"""Seeded traffic that stands in for recorded traces: a few shapes of load, each with the lengths of its kind of use.

Arrivals are those of a Poisson process whose rate follows a shape, multiplied by slow noise (a mean-reverting walk) and
by bursts. Lengths are log-normal. The class of a trace is a formula on its arrivals alone.
"""

from __future__ import annotations

import hashlib
import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.request_log import Arrivals
from inference_fleet.simulation.scenario import Workload

HOUR: Final = 3600.0
DAY: Final = 86_400.0
# The rate is constant within a slot of this length.
SLOT_SECONDS: Final = 5.0
SMALLEST_RATE: Final = 1e-3
FLASH_GROWTH: Final = 5.0
FLASH_SECONDS: Final = 6 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A kind of traffic. rate: requests per second at each second. noise: standard deviation of the logarithm of the
    slow noise. bursts_per_hour, burst_factor (rate multiplied by), burst_seconds: means. tokens: median and standard
    deviation of the logarithm, of prompts and outputs.
    """

    name: str
    span_seconds: float
    rate: Callable[[float], float]
    noise: float = 0.1
    noise_seconds: float = 300.0
    bursts_per_hour: float = 0.0
    burst_factor: float = 2.0
    burst_seconds: float = 180.0
    prompt_tokens: tuple[float, float] = (700.0, 0.8)
    output_tokens: tuple[float, float] = (150.0, 0.8)


def generate(shape: Shape, *, seed: int) -> Workload:
    """The trace of a shape and a seed."""
    seconds = _times(_rates(shape, random.Random(f"{shape.name} {seed}")), chance := _chance(shape, seed))  # noqa: S311
    arrivals = Arrivals.sorted(
        np.round(seconds, 3),
        _tokens(chance, len(seconds), *shape.prompt_tokens, most=100_000),
        _tokens(chance, len(seconds), *shape.output_tokens, most=8_192),
    )
    digest = hashlib.sha256(f"{shape.name} {seed}".encode())
    for column in (arrivals.seconds, arrivals.input_tokens, arrivals.output_tokens):
        digest.update(column.tobytes())
    return Workload(f"{shape.name}-{seed}", digest.hexdigest(), arrivals)


def trace_class(arrivals: Arrivals) -> str:
    """smooth, bursty or flash, from the tokens that arrive in each minute.

    Let g be the 99 % quantile over minutes of (tokens in a minute) / (mean of the ten minutes before it). flash: such
    a growth is at least 5 in one minute or more, on traces longer than six hours in one for every six hours. bursty:
    g is at least 1.6. Else smooth. Minutes with less than a tenth of the trace's mean say nothing.
    """
    if not arrivals:
        return "smooth"
    tokens = arrivals.input_tokens + arrivals.output_tokens
    minutes = np.bincount((arrivals.seconds // 60).astype(np.int64), weights=tokens).tolist()
    floor = 0.1 * sum(minutes) / len(minutes)
    growths = sorted(
        minutes[place] / max(floor, sum(minutes[place - 10 : place]) / 10)
        for place in range(10, len(minutes))
        if minutes[place] >= floor
    )
    if not growths:
        return "smooth"
    flashes = sum(1 for growth in growths if growth >= FLASH_GROWTH)
    if flashes >= max(1.0, arrivals[-1].arrival_seconds / FLASH_SECONDS):
        return "flash"
    return "bursty" if growths[min(len(growths) - 1, math.floor(0.99 * len(growths)))] >= 1.6 else "smooth"


def _rates(shape: Shape, chance: random.Random) -> list[float]:
    slots = math.ceil(shape.span_seconds / SLOT_SECONDS)
    keep = math.exp(-SLOT_SECONDS / shape.noise_seconds)
    spread = shape.noise * math.sqrt(1 - keep * keep)
    level = chance.gauss(0.0, shape.noise)
    burst_until, burst = -math.inf, 1.0
    rates = []
    for slot in range(slots):
        now = slot * SLOT_SECONDS
        level = keep * level + chance.gauss(0.0, spread)
        if now >= burst_until:
            burst = 1.0
            if chance.random() < shape.bursts_per_hour * SLOT_SECONDS / HOUR:
                burst = 1.0 + chance.expovariate(1.0 / (shape.burst_factor - 1.0))
                burst_until = now + chance.expovariate(1.0 / shape.burst_seconds)
        rates.append(max(SMALLEST_RATE, shape.rate(now) * math.exp(level - shape.noise**2 / 2) * burst))
    return rates


def _chance(shape: Shape, seed: int) -> np.random.Generator:
    """Repeatable, not secret. Only its uniform numbers are used: numpy keeps those the same from version to version."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(f"{shape.name} {seed}".encode())))


def _times(rates: Sequence[float], chance: np.random.Generator) -> Any:
    """Arrivals of a Poisson process whose rate is constant within a slot: those of rate one on a clock that the rates
    drive."""
    passed = np.concatenate(([0.0], np.cumsum(rates) * SLOT_SECONDS))
    total = passed[-1]
    gaps = -np.log1p(-chance.random(math.ceil(total + 8 * math.sqrt(total) + 50)))
    moments = np.cumsum(gaps)
    return np.interp(moments[moments < total], passed, np.arange(len(passed)) * SLOT_SECONDS)


def _tokens(chance: np.random.Generator, count: int, median: float, spread: float, *, most: int) -> Any:
    """Log-normal lengths (Box and Muller's normal numbers)."""
    normal = np.sqrt(-2 * np.log1p(-chance.random(count))) * np.cos(2 * math.pi * chance.random(count))
    return np.clip(np.rint(median * np.exp(spread * normal)), 1, most)


def day_cycle(low: float, high: float) -> Callable[[float], float]:
    """A day's cycle: least at four in the morning, most at four in the afternoon."""
    return lambda now: low + (high - low) * 0.5 * (1 - math.cos(2 * math.pi * (now - 4 * HOUR) / DAY))


def _steps(levels: Sequence[float], seconds: float) -> Callable[[float], float]:
    return lambda now: levels[min(len(levels) - 1, int(now // seconds))]


def _flash(base: float, factor: float, every: float, lasts: float) -> Callable[[float], float]:
    return lambda now: base * (factor if now % every >= every - lasts else 1.0)


# Hours, not days, and loads of a few replicas of the slow card, so that all of it runs in minutes.
SUITE: Final[tuple[Shape, ...]] = (
    Shape(name="chat-steady", span_seconds=2 * HOUR, rate=lambda _: 10.0, noise=0.15),
    Shape(name="chat-morning", span_seconds=3 * HOUR, rate=lambda now: 3.0 + 11.0 * min(1.0, now / (2.5 * HOUR))),
    Shape(
        name="chat-bursts", span_seconds=3 * HOUR, rate=lambda _: 7.0, noise=0.2, bursts_per_hour=4.0, burst_factor=2.0
    ),
    Shape(
        name="code-bursts",
        span_seconds=3 * HOUR,
        rate=_steps((5, 7, 9, 6, 4, 6), 1800.0),
        noise=0.3,
        bursts_per_hour=3.0,
        prompt_tokens=(1500.0, 1.0),
        output_tokens=(40.0, 0.9),
    ),
    Shape(
        name="reasoning",
        span_seconds=3 * HOUR,
        rate=lambda now: 2.0 + 1.2 * math.sin(2 * math.pi * now / (3 * HOUR)),
        noise=0.2,
        prompt_tokens=(200.0, 1.2),
        output_tokens=(1200.0, 0.9),
    ),
    Shape(name="flash-crowd", span_seconds=2 * HOUR, rate=_flash(2.0, 10.0, 2400.0, 300.0), noise=0.1),
)
# Three days with a strong cycle, then weekdays and a weekend; long, for runs that have the time.
DAYS: Final = Shape(name="chat-days", span_seconds=3 * DAY, rate=day_cycle(1.0, 9.0), noise=0.2, bursts_per_hour=0.3)


def weeks_rate(now: float) -> float:
    """Three weeks' rate: a day's cycle, and weekends at 0.55 of it."""
    return day_cycle(0.7, 6.5)(now) * (0.55 if int(now // DAY) % 7 >= 5 else 1.0)


# Longer requests than those of the suite, so that fewer of them keep as many replicas busy.
WEEKS: Final = Shape(
    name="chat-weeks",
    span_seconds=21 * DAY,
    rate=weeks_rate,
    noise=0.2,
    bursts_per_hour=0.2,
    prompt_tokens=(3000.0, 0.3),
    output_tokens=(300.0, 0.5),
)
# A quiet week with a crowd of ten times the load in the last twenty minutes of every day.
DAILY_CROWD: Final = Shape(
    name="daily-crowd",
    span_seconds=7 * DAY,
    rate=_flash(0.6, 10.0, DAY, 1200.0),
    noise=0.2,
    bursts_per_hour=0.2,
    prompt_tokens=(3000.0, 0.3),
    output_tokens=(300.0, 0.5),
)
# llm-d's published benchmark of its SLO-aware rule: 2 to 10 and back to 1 requests a second in 42 minutes, every
# request with 4,000 prompt and 1,000 output tokens.
RAMP: Final = Shape(
    name="llm-d-ramp",
    span_seconds=2520.0,
    rate=_steps((2, 4, 6, 8, 10, 4, 1), 360.0),
    noise=0.0,
    prompt_tokens=(4000.0, 0.0),
    output_tokens=(1000.0, 0.0),
)
SHAPES: Final = {shape.name: shape for shape in (*SUITE, DAYS, WEEKS, DAILY_CROWD, RAMP)}
