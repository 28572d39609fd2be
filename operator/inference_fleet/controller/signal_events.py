"""Events on signals that stay unknown and on their return: one of each per object, and few at once.

An outage of Prometheus is one of every object. The metric `inference_fleet_ticks_total`, the alert and each object's
condition tell it at once; the events follow for whoever looks at one object, and only of what has lasted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS
from inference_fleet.api.conditions import ConditionType, Reason
from inference_fleet.controller.event_recorder import EventRecorder
from inference_fleet.controller.store import Store
from inference_fleet.controller.tick import Scaled
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.judgement import following_words
from inference_fleet.planning.times import unix_seconds
from inference_fleet.planning.writes import EventNote
from inference_fleet.scaling.types import Mode, SignalState

# A Prometheus that starts again, or a pod that is slow for some scrapes, is no event.
AFTER_SECONDS: Final = 60.0
# In one look at the fleet, four a minute: 1,000 objects are told of within five minutes, if it lasts so long.
MOST_AT_ONCE: Final = 50


@dataclass
class _Silence:
    """Of one object: since when (unix seconds), and whether it was told."""

    uid: str
    since: float
    told: bool


@dataclass
class SignalEvents:
    """Remembers whose signals are missing. leads: whether we may write."""

    store: Store
    events: EventRecorder
    leads: Callable[[], bool]
    _silences: dict[Key, _Silence] = field(default_factory=dict)

    def look(self, scaled: Mapping[Key, Scaled], now: float) -> None:
        """After every look at the fleet (unix seconds)."""
        left = MOST_AT_ONCE if self.leads() else 0
        for key in self._silences.keys() - scaled.keys():
            del self._silences[key]
        for key, entry in scaled.items():
            silence = self._silences.get(key)
            if silence is None and not entry.decision.problem:
                continue
            if silence is None or silence.uid != entry.uid:
                silence = self._begun(key, entry, now)
            missing = _is_missing(entry)
            if missing and left and not silence.told and now - silence.since >= AFTER_SECONDS:
                self._note(key, entry, "Warning", Reason.SIGNALS_UNKNOWN, _words(entry))
                silence.told = True
                left -= 1
            elif not missing and silence.told and left:
                idle = entry.decision.signals is SignalState.IDLE
                reason = Reason.SIGNALS_IDLE if idle else Reason.SIGNALS_FRESH
                # Of another length than the last time, and so no repetition that would be left out.
                again = f"all pods answer again after {round((now - silence.since) / 60)} min"
                self._note(key, entry, "Normal", reason, f"{again}: {_words(entry)}")
                del self._silences[key]
                left -= 1
            elif not missing and not silence.told:
                del self._silences[key]

    def _begun(self, key: Key, entry: Scaled, now: float) -> _Silence:
        """What status has called unknown for as long has been told by the operator before this one."""
        deployment = self.store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1]) or {}
        signals = ((deployment.get("status") or {}).get("scaling") or {}).get("signals") or {}
        since = unix_seconds(signals.get("since"))
        told = signals.get("state") == SignalState.UNKNOWN.value and since is not None and now - since >= AFTER_SECONDS
        found = self._silences[key] = _Silence(entry.uid, now, told and _is_missing(entry))
        return found

    def _note(self, key: Key, entry: Scaled, kind: str, reason: Reason, words: str) -> None:
        deployment = self.store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1])
        if deployment is not None:
            known = entry.decision.signals is not SignalState.UNKNOWN
            self.events.note(deployment, EventNote(kind, reason, f"{ConditionType.SCALING_ACTIVE}={known}: {words}"))


def _words(entry: Scaled) -> str:
    """Those of the condition."""
    unknown = entry.decision.signals is SignalState.UNKNOWN
    return entry.decision.message if unknown else following_words(entry.decision)


def _is_missing(entry: Scaled) -> bool:
    """Whether pods that serve do not answer, and replicas would follow what they say."""
    return (
        bool(entry.decision.problem)
        and entry.limits.mode is Mode.AUTOMATIC
        and any(variant.ready for variant in entry.observation.variants)
    )
