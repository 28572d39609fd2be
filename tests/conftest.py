"""For every tier: no event loop is left for the garbage collector.

The looptime plug-in asks the loop policy for a loop around synchronous tests, which makes one that nobody closes; its
finalizer then runs anywhere, also inside the parser of CPython 3.11, which does not survive that.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does; pytest's own time limit stays.
settings.register_profile("inference-fleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inference-fleet")

_LOOP_OF_SYNCHRONOUS_TESTS = pytest.StashKey[asyncio.AbstractEventLoop]()


def pytest_configure(config: pytest.Config) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config.stash[_LOOP_OF_SYNCHRONOUS_TESTS] = loop


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_LOOP_OF_SYNCHRONOUS_TESTS].close()
