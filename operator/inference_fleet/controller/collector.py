"""When Python's collector looks for cycles: rarely at everything, because that stops the event loop."""

from __future__ import annotations

import gc
from typing import Final

# Net allocations between two young collections, and collections of one age between two of the next. A full one looks
# at every object of the store, 0.2 to 0.3 s for 1,000 deployments; with Python's own 700, 10, 10 one came in nearly
# every tick. What is no cycle, all but a few objects here, is freed without it.
# A tick makes one young collection for every 50 deployments: with 1,000 a full one comes once an hour.
THRESHOLDS: Final = (2_000, 10, 5_000)


def collect_rarely() -> None:
    """Set apart what was loaded so far, which never goes, and collect by the thresholds above from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def collect_young() -> None:
    """Look at what is new while little of it is there.

    A tick frees as many objects as it makes, so by Python's count of net allocations nothing has happened; the next
    collection, in the midst of an answer of Prometheus, would look at all of them: 60 ms for 1,000 deployments.
    """
    gc.collect(1)
