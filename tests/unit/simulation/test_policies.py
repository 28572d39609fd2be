"""Rivals' rules: each reproduces numbers that its authors published."""

from __future__ import annotations

import pytest

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.scaling.types import Limits, Mode, VariantLimits
from inference_fleet.simulation.batch import known_policy
from inference_fleet.simulation.observe import Histogram
from inference_fleet.simulation.policies.aibrix import replicas_for_use
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.policies.hpa import HorizontalPodAutoscaler, replicas_for_ratio
from inference_fleet.simulation.policies.knative import KnativePodAutoscaler, pods_for
from inference_fleet.simulation.policies.llm_d import SloAware, histogram_quantile, recommended

LIMITS = Limits(
    mode=Mode.AUTOMATIC,
    min_replicas=1,
    max_replicas=64,
    variants=(VariantLimits("a", 0, 64, 256, DEFAULT_STEP_TIME),),
)


def test_every_policy_says_where_it_is_from() -> None:
    assert all(kind.source and kind.name == name for name, kind in POLICIES.items())
    assert known_policy("keda-queue-tuned")
    assert not known_policy("fleet-tuned")


# Kubernetes' page on the HPA: 200m by a target of 100m doubles the replicas, 50m halves them; within 0.1 nothing.
@pytest.mark.parametrize(("current", "ratio", "expected"), [(3, 2.0, 6), (4, 0.5, 2), (10, 1.1, 10), (10, 0.9, 10)])
def test_the_hpa_scales_by_the_ratio_outside_its_tolerance(current: int, ratio: float, expected: int) -> None:
    assert replicas_for_ratio(current, ratio) == expected


# KEDA's pages on queues: a pod handles 10 messages, 30 are in the queue -> 3 pods.
def test_keda_takes_one_pod_for_every_target_of_messages() -> None:
    assert replicas_for_ratio(1, 30 / (10 * 1)) == 3
    assert replicas_for_ratio(2, 30 / (10 * 2)) == 3


def test_the_hpa_goes_down_to_the_largest_recommendation_of_five_minutes() -> None:
    hpa = HorizontalPodAutoscaler()
    assert hpa.settle(8, current=10, now=0.0) == 10  # what ran at the beginning is remembered
    assert hpa.settle(4, current=10, now=200.0) == 10
    assert hpa.settle(4, current=10, now=301.0) == 4
    assert hpa.settle(2, current=4, now=302.0) == 4


def test_the_hpa_doubles_or_adds_four_at_a_time() -> None:
    assert HorizontalPodAutoscaler().settle(50, current=10, now=0.0) == 20
    assert HorizontalPodAutoscaler().settle(50, current=2, now=0.0) == 6


# Alibaba's page on Knative: 100 requests, 10 a container at 70 % -> 15; Knative's sample: 50 requests at 10 -> 5.
def test_the_kpa_divides_concurrency_by_what_a_pod_should_carry() -> None:
    assert pods_for(100, target=10 * 0.7) == 15
    assert pods_for(50, target=10) == 5


def test_the_kpa_panics_at_twice_the_capacity_and_does_not_go_down_until_it_is_over() -> None:
    kpa = KnativePodAutoscaler(LIMITS, target=10)
    for tick in range(4):
        assert kpa.decide_for(20, ready=2, now=15.0 * tick) == 2
    # 40 in flight: mean of the window 25 -> 3, the newest value 4 = twice the capacity: panic.
    assert kpa.decide_for(40, ready=2, now=60.0) == 4
    assert kpa.decide_for(10, ready=4, now=75.0) == 4
    assert kpa.decide_for(10, ready=4, now=105.0) == 4
    assert kpa.decide_for(10, ready=4, now=120.0) == 2  # at most halved in a tick


# AIBrix's own table: target 30, tolerances 0.1, (pods, use, up rate, down rate) -> pods.
@pytest.mark.parametrize(
    ("pods", "use", "up", "down", "expected"),
    [
        (2, 45, 2, 2, 3),
        (2, 35, 2, 2, 3),
        (2, 90, 2, 2, 4),
        (2, 90, 2.5, 2, 5),
        (6, 20, 2, 2, 4),
        (6, 18, 2, 2, 4),
        (6, 10, 2, 2, 3),
        (6, 5, 2, 2.5, 2),
        (2, 33, 2, 2, 2),
        (2, 27, 2, 2, 2),
    ],
)
def test_aibrix_steps_as_in_its_table(pods: int, use: float, up: float, down: float, expected: int) -> None:
    counted = replicas_for_use(pods, use / 30, up_tolerance=0.1, down_tolerance=0.1, up_rate=up, down_rate=down)
    assert counted == expected


# llm-d's formulas and thresholds (0.55, 0.40), worked by hand; its page has no numbers of its own for a step.
@pytest.mark.parametrize(
    ("replicas", "ready", "stress", "expected"),
    [(4, 4, 1.1, 8), (4, 2, 1.1, 4), (4, 4, 0.56, 5), (4, 4, 0.5, 4), (8, 8, 0.2, 4), (8, 8, 0.0, 0), (3, 3, 0.39, 3)],
)
def test_llm_d_steps_by_saturation_with_credit_for_starts(
    replicas: int, ready: int, stress: float, expected: int
) -> None:
    assert recommended(replicas, stress, ready=ready, up=0.55, down=0.40) == expected


def test_llm_d_goes_up_after_30_s_and_down_one_per_two_minutes() -> None:
    rule = SloAware(LIMITS, up=0.55, down=0.40)
    assert rule.settle(4, current=4, now=0.0) == 4
    assert rule.settle(12, current=4, now=15.0) == 4  # 30 s ago it wanted 4
    assert rule.settle(12, current=4, now=46.0) == 8  # doubled at most
    rule = SloAware(LIMITS, up=0.55, down=0.40)
    assert rule.settle(8, current=8, now=0.0) == 8
    assert rule.settle(2, current=8, now=181.0) == 7
    assert rule.settle(2, current=7, now=196.0) == 7


def test_a_quantile_lies_within_its_bucket_as_prometheus_computes_it() -> None:
    before = [Histogram((1.0, 2.0, 4.0), (5, 0, 0, 0))]
    after = [Histogram((1.0, 2.0, 4.0), (55, 30, 20, 0))]
    # 100 requests: 50, 30, 20; the 90th is half way through the third bucket.
    assert histogram_quantile(0.9, before=before, after=after) == pytest.approx(3.0)
    assert histogram_quantile(0.9, before=after, after=after) is None
    beyond = [Histogram((1.0, 2.0, 4.0), (0, 0, 0, 9))]
    assert histogram_quantile(0.9, before=[Histogram((1.0, 2.0, 4.0), (0, 0, 0, 0))], after=beyond) == 4.0
