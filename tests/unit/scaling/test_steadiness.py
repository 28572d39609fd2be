"""What the scaler does not do: swing with noise, fall for silence, forget over a restart."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from builders.scaling import TICK_SECONDS, Scaler, limits, sample, variant, variant_limits
from inference_fleet.scaling.hold import HOLD_COLD_STARTS
from inference_fleet.scaling.memory import MAXIMUM_BYTES, ScalerMemory
from inference_fleet.scaling.types import PodSample, VariantObservation

COLD_START_SECONDS = 120.0


def scaler() -> Scaler:
    return Scaler(limits(variant_limits(cold_start_seconds=COLD_START_SECONDS, max_replicas=40), max_replicas=40))


@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_fifth_turns_the_fleet_at_most_once_a_hold(seed: int) -> None:
    ticks, load = 480, 200.0
    counts = fleet_under_noise(random.Random(seed), ticks=ticks, load=load)
    moves = [later - earlier for earlier, later in itertools.pairwise(counts) if later != earlier]
    turns = sum((a > 0) != (b > 0) for a, b in itertools.pairwise(moves))
    # Without a hold, and with nothing that stands by, it turns more than seventy times.
    assert turns <= ticks * TICK_SECONDS / (HOLD_COLD_STARTS * COLD_START_SECONDS)
    assert load / 14.7 <= counts[-1] <= 3 * load / 14.7  # 14.7 requests fill a batch


def fleet_under_noise(chance: random.Random, *, ticks: int, load: float) -> list[int]:
    """Replicas at every tick while so many requests run, a fifth more or less. Pods count from their own start."""
    bounds = limits(variant_limits(cold_start_seconds=COLD_START_SECONDS, max_replicas=60), max_replicas=60)
    one, counts = Scaler(bounds), [20]
    work: dict[str, float] = {}
    for _ in range(ticks):
        share = load / counts[-1] * max(0.0, chance.gauss(1.0, 0.2))
        work = {name: work.get(name, 0.0) + share for name in (f"a-{index}" for index in range(counts[-1]))}
        pods = tuple(
            sample(
                name,
                at=one.now,
                running=share,
                prompt_tokens=done,
                generation_tokens=done / 5,
                finished_requests=done / 5,
            )
            for name, done in work.items()
        )
        seen = VariantObservation("a", desired=len(pods), ready=len(pods), ready_pods=tuple(work), pods=pods)
        counts.append(one.tick(seen).total)
    return counts


def test_an_hour_without_prometheus_changes_nothing_and_its_return_brings_no_dip() -> None:
    one = scaler()
    ready = 6
    for _ in range(240):
        ready = one.tick(variant(at=one.now, ready=ready, running=60.0)).total
    before = ready
    pods = tuple(f"a-{index}" for index in range(before))
    for _ in range(240):
        silent = VariantObservation("a", desired=before, ready=before, ready_pods=pods)
        assert one.tick(silent, problem="Prometheus does not answer").total == before
    for _ in range(40):
        assert one.tick(variant(at=one.now, ready=before, running=60.0)).total >= before - 1


@pytest.mark.parametrize("away", [1, 8])
@pytest.mark.parametrize("speaks", [True, False])
def test_a_pod_that_is_ready_again_brings_no_load_of_its_past(away: int, speaks: bool) -> None:
    one = scaler()
    one.hold(60, ready=3, running=12.0)
    for _ in range(away):
        told = (sample("a-2", at=one.now, generation_tokens=one.now, prompt_tokens=5 * one.now),) if speaks else ()
        rest = variant(at=one.now, ready=2, running=8.0, desired=3, starting=1)
        one.tick(replace(rest, unready_pods=("a-2",), unready_samples=told))
    before = one.memory.forecast.last_demand
    decision = one.hold(1, ready=3, running=12.0)
    assert before is not None
    assert decision.total <= 3
    assert one.memory.forecast.last_demand == pytest.approx(before, rel=0.5)


def test_a_pod_that_is_not_ready_when_the_scaler_starts_brings_no_load_of_its_past() -> None:
    one = Scaler(limits(variant_limits(cold_start_seconds=COLD_START_SECONDS)), memory=ScalerMemory.empty())
    for _ in range(4):
        old = sample("a-2", at=one.now, generation_tokens=one.now, prompt_tokens=5 * one.now, finished_requests=one.now)
        rest = variant(at=one.now, ready=2, running=8.0, desired=3, starting=1)
        one.tick(replace(rest, unready_pods=("a-2",), unready_samples=(old,)))
    assert one.hold(2, ready=3, running=12.0).total == 3


def test_a_pod_that_is_silent_when_the_scaler_starts_brings_no_load_of_its_past() -> None:
    one = Scaler(limits(variant_limits(cold_start_seconds=COLD_START_SECONDS)), memory=ScalerMemory.empty())
    for _ in range(3):
        heard = variant(at=one.now, ready=3, running=12.0)
        one.tick(replace(heard, pods=heard.pods[:2]))
    before = one.memory.forecast.last_demand
    assert before is not None
    for _ in range(3):
        assert one.hold(1, ready=3, running=12.0).total == 3
        # With all that it ever counted read as of one tick it would be many times as much.
        assert one.memory.forecast.last_demand == pytest.approx(before, rel=0.5)


@pytest.mark.parametrize("seconds", [60.0, 300.0, 3600.0, 86400.0])
def test_a_clock_that_is_set_back_neither_stops_the_scaler_nor_makes_up_load(seconds: float) -> None:
    chance, one = random.Random(5), scaler()
    work = 0.0
    most = {False: 0, True: 0}
    for tick in range(480):
        if tick == 240:
            one.now -= seconds
        running = 40.0 * chance.uniform(0.9, 1.1)
        work += running * TICK_SECONDS
        wanted = one.tick(variant(at=one.now, ready=4, running=running, work=work)).recommended
        most[tick >= 240] = max(most[tick >= 240], wanted)
    # Averages that time runs back in grow by e to the power of the seconds.
    assert most[True] <= most[False]


def test_a_new_pod_counts_from_zero_though_it_was_met_before_it_was_ready() -> None:
    one = scaler()
    one.hold(10, ready=2, running=8.0)
    new = sample("a-2", at=one.now)
    rest = variant(at=one.now, ready=2, running=8.0, desired=3, starting=1)
    one.tick(replace(rest, unready_pods=("a-2",), unready_samples=(new,)))
    assert "a-2" not in dict(one.memory.pods)


def served(name: str, *, at: float, requests: float, running: float = 4.0) -> PodSample:
    """With prompts of 500 tokens and answers of 100."""
    return sample(
        name,
        at=at,
        running=running,
        prompt_tokens=500 * requests,
        generation_tokens=100 * requests,
        finished_requests=requests,
    )


def demand_of(one: Scaler, *pods: PodSample) -> float:
    """What the load of one tick is taken for, in replicas; 0 at the first."""
    names = tuple(pod.pod for pod in pods)
    one.tick(VariantObservation("a", desired=len(pods), ready=len(pods), ready_pods=names, pods=pods))
    return one.memory.forecast.last_demand or 0.0


@pytest.mark.parametrize("apart", [0.1, 1.0, 3.0])
def test_two_samples_a_moment_apart_are_no_load_of_a_moment(apart: float) -> None:
    one = scaler()
    # Two requests a second are told of by turns: a pair of servers scrapes now just before the tick, now just after
    # the last one, and what was counted between their scrapes is one step's batch.
    usual, most = 0.0, 0.0
    for tick in range(40):
        early = tick % 4 == 3
        age = TICK_SECONDS - apart if early else 0.0
        batch = 10.0 if early else 0.0
        pods = [served(name, at=one.now - age, requests=2 * (one.now - age) + batch) for name in ("a-0", "a-1")]
        demand = demand_of(one, *pods)
        if 8 <= tick < 11:
            usual = max(usual, demand)
        most = max(most, demand) if tick >= 8 else most
    assert most <= 2 * usual


def test_what_a_new_pod_has_done_by_its_first_sample_is_no_load_of_a_moment() -> None:
    one = scaler()
    for _ in range(20):
        usual = demand_of(one, *(served(name, at=one.now - 0.1, requests=2 * one.now) for name in ("a-0", "a-1")))
    # The third has served for a dozen seconds; it is scraped just after the tick in which the others were seen.
    old = [served(name, at=one.now - 0.1, requests=2 * one.now) for name in ("a-0", "a-1")]
    new = served("a-2", at=one.now - TICK_SECONDS + 0.2, requests=24)
    # A third more is served; in the 0.3 s between the scrapes it would be many replicas' work.
    assert demand_of(one, *old, new) <= 2.5 * usual


def test_a_restart_from_the_checkpoint_goes_on_as_if_nothing_had_been() -> None:
    chance = random.Random(4)
    one, ready = scaler(), 6
    for _ in range(900):
        ready = one.tick(variant(at=one.now, ready=ready, running=60.0 * chance.uniform(0.7, 1.3))).total
    text = one.memory.to_json()
    assert len(text.encode()) <= MAXIMUM_BYTES
    again = ScalerMemory.from_json(text)
    assert again == one.memory
    restarted = Scaler(one.limits, memory=again, now=one.now)
    for _ in range(20):
        seen = variant(at=one.now, ready=ready, running=60.0)
        assert restarted.tick(seen).replicas == one.tick(seen).replicas


def test_a_restart_without_a_checkpoint_keeps_at_least_what_there_is() -> None:
    fresh = Scaler(limits(variant_limits(cold_start_seconds=COLD_START_SECONDS)), memory=ScalerMemory.empty())
    for _ in range(20):
        assert fresh.tick(variant(at=fresh.now, ready=6, running=5.0)).total == 6


@pytest.mark.parametrize(
    "damage",
    ["", "null", "[]", '{"schemaVersion":"another"}', '{"schemaVersion":"inference-fleet/scaler-memory/v2"}'],
)
def test_a_damaged_checkpoint_is_none(damage: str) -> None:
    assert ScalerMemory.from_json(damage) is None


@pytest.mark.parametrize(
    ("field", "lie"),
    [
        ('"ticks":30', '"ticks":-1e999'),
        ('"ticks":30', '"ticks":"many"'),
        ('"started":', '"started":[],"x":'),
        ('"weights":[', '"weights":[1,'),
        ('"requests":[', '"requests":[-5,'),
        ('"errors":[', '"errors":[[1.0],'),
        ('"errors":[', '"errors":[7.0,'),
    ],
)
def test_a_checkpoint_with_wrong_values_is_none(field: str, lie: str) -> None:
    one = scaler()
    for _ in range(31):
        one.tick(variant(at=one.now, ready=3, running=20.0))
    text = one.memory.to_json()
    assert field in text
    assert ScalerMemory.from_json(text.replace(field, lie, 1)) is None


def test_a_checkpoint_of_the_former_schema_keeps_its_cold_starts_and_its_hold() -> None:
    former = (
        '{"schemaVersion":"inference-fleet/scaler-memory/v1","started":1.0,"needs":[[2.0,3]],"loads":[],'
        '"idleSince":null,"unknownSince":null,"lastDown":null,"promptPerGenerated":5.0,"pods":[],"variants":[["a",[7.0]]]}'
    )
    memory = ScalerMemory.from_json(former)
    assert memory is not None
    assert (memory.started, memory.needs) == (1.0, ((2.0, 3.0),))
    assert memory.variant("a").cold_start_seconds == (7.0,)


def test_fields_that_a_later_release_adds_do_not_damage_a_checkpoint() -> None:
    text = ScalerMemory(started=5.0).to_json().replace('"started":5.0', '"started":5.0,"later":[1,{"a":2}]')
    assert ScalerMemory.from_json(text) == ScalerMemory(started=5.0)
