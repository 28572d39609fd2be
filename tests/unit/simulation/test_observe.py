"""What a tick sees: totals as old as the scrape, pod states as they are."""

from __future__ import annotations

import pytest

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.types import ObjectiveLimit
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.observe import SAMPLE_AGES_SECONDS, Observer, judged_edge
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrival, RequestLog

STEP = StepTimeModel(base_seconds=0.010, per_prefill_token_seconds=0.001, per_decoding_sequence_seconds=0.001)
FIRST_TOKEN = ObjectiveLimit(name="first", metric="TimeToFirstToken", threshold_seconds=1.0, target=0.99)
PACE = ObjectiveLimit(name="pace", metric="InterTokenLatency", threshold_seconds=0.06, target=0.99)


@pytest.fixture
def fleet() -> Fleet:
    log = RequestLog([Arrival(0.0, 100, 11), Arrival(4.0, 2000, 2), Arrival(20.0, 100, 1001)])
    variant = VariantModel(name="a", engine=EngineModel(step_time=STEP))
    return Fleet([variant], log, settings=FleetSettings(), start=[1], seed=0)


def test_totals_are_those_of_the_scrape_and_states_those_of_the_tick(fleet: Fleet) -> None:
    observer = Observer(fleet, objectives=[FIRST_TOKEN, PACE], seed=0)
    fleet.advance(10.0)
    scrape = observer.scrape()
    fleet.scale(0, 2)
    fleet.advance(20.05)
    seen = observer.show(scrape).observation.variants[0]
    assert (seen.desired, seen.ready, seen.starting) == (2, 1, 1)
    (pod,) = seen.pods
    assert (pod.sample_time, pod.running, pod.prompt_tokens, pod.finished_requests) == (10.0, 0.0, 2100.0, 2.0)


def test_histograms_count_good_and_all_requests(fleet: Fleet) -> None:
    observer = Observer(fleet, objectives=[FIRST_TOKEN, PACE], seed=0)
    fleet.advance(10.0)
    first, pace = observer.show(observer.scrape()).observation.variants[0].histograms
    # The second request's 2,000 prompt tokens take 2 s.
    assert (first.good, first.total) == (1.0, 2.0)
    assert (pace.good, pace.total, pace.edge_seconds) == (2.0, 2.0, 0.05)


def test_an_objective_between_edges_is_judged_at_the_stricter_one() -> None:
    assert judged_edge(PACE) == 0.05
    assert judged_edge(FIRST_TOKEN) == 1.0


def test_ages_are_drawn_from_the_seed(fleet: Fleet) -> None:
    def ages(seed: int) -> list[float]:
        observer = Observer(fleet, objectives=[], seed=seed)
        return [observer.draw_age() for _ in range(20)]

    assert ages(1) == ages(1)
    assert set(ages(1)) == set(SAMPLE_AGES_SECONDS)
