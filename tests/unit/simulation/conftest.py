"""Machine code first: compiling the laboratory's loop takes seconds, on a busy machine more than a test may take."""

from __future__ import annotations

import numpy as np
import pytest

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.plan import Kind, cheapest_plan
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrival, RequestLog


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/unit/simulation/" in str(item.path):
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    variant = VariantModel(name="a", engine=EngineModel(step_time=DEFAULT_STEP_TIME))
    fleet = Fleet([variant], RequestLog([Arrival(1.0, 9, 9)]), settings=FleetSettings(), start=[1], seed=0)
    fleet.advance(60.0)
    fleet.shown(fleet.replicas)
    cheapest_plan([Kind((1,), 1.0, 1.0, 1)], np.zeros((1, 1)), price=1.0)
