"""At which load the latencies of a tick are booked: late first tokens of an overload belong to the overload.

Booked on the low load after it they would say that nothing is safe. Source: design, section 3.3 ("late truth").
"""

from __future__ import annotations

from typing import Final, NamedTuple

from inference_fleet.scaling.demand import Need

# A backlog is one if its prompts take longer than this share of the first-token objective.
BACKLOG_SHARE: Final = 0.5
# Ticks after a backlog in which its requests still finish.
TICKS_AFTER: Final = 4


class Overload(NamedTuple):
    """former: load of the last tick. booked: the load that this tick's requests count at. peak: largest load since a
    backlog began, 0 without one. left: ticks until it is over. served: what served when it began, in replicas of the
    first variant.
    """

    former: float = 0.0
    booked: float = 0.0
    peak: float = 0.0
    left: int = 0
    served: float = 0.0

    def learned(self, load: float, *, ready: float, backlog: bool) -> Overload:
        """With the load of this tick; whether its backlog is one (see BACKLOG_SHARE). ready: what serves now."""
        recent = max(load, self.former)
        if not backlog and self.left == 0:
            return Overload(former=load, booked=recent)
        peak = max(self.peak, recent)
        left = TICKS_AFTER if backlog else self.left - 1
        return Overload(former=load, booked=peak, peak=peak, left=left, served=self.served if self.left else ready)

    def arriving(self, needs: tuple[Need, ...]) -> tuple[Need, ...]:
        """What the load takes without what the fleet holds only because it works a queue off.

        Then every batch is full, of replicas that were added for the queue as well, however little arrives: taken for
        load it would have the fleet grow as it grows. So what is held counts up to what the tokens that come take, and
        up to what served when the queue began. 60 come and 40 served, 110 are full of the queue -> 60.
        """
        first = needs[0]
        most = max(first.compute, self.served)
        if not (self.left and self.served) or first.space <= most:
            return needs
        return tuple([need._replace(space=need.space * most / first.space) for need in needs])
