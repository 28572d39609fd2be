"""A Prometheus for the cluster in memory: a load per InferenceDeployment spread over its ready pods, or lies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from builders.pod_life import PodLife
from inference_fleet.adapters.ports import DeploymentKey, FleetSamples, PastSamples, PodKey, Promised
from inference_fleet.api.names import LABEL_DEPLOYMENT
from inference_fleet.scaling.types import PodSample

TOKENS_PER_REQUEST_SECOND = 20.0


@dataclass
class FleetSignals:
    """Signals port. load: requests under way per InferenceDeployment. twist: what becomes of an honest answer.

    recorded: (time, answer) of the past, for those who ask for it; None: nobody recorded any.
    """

    pods: PodLife
    load: Mapping[str, float] = field(default_factory=dict)
    twist: Callable[[FleetSamples], FleetSamples] = lambda honest: honest
    asked: int = 0
    recorded: list[tuple[float, FleetSamples]] | None = None
    _tokens: dict[PodKey, float] = field(default_factory=dict)
    _at: float | None = None

    async def sample(self, *, at: float, promised: Collection[Promised]) -> FleetSamples:
        self.asked += 1
        elapsed = 0.0 if self._at is None else at - self._at
        self._at = at
        ready = self.pods.ready()
        names = [pod["metadata"]["labels"][LABEL_DEPLOYMENT] for pod in ready]
        samples: dict[PodKey, PodSample] = {}
        for pod, name in zip(ready, names, strict=True):
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            running = self.load.get(name, 0.0) / names.count(name)
            tokens = self._tokens.get(key, 0.0) + running * elapsed * TOKENS_PER_REQUEST_SECOND
            self._tokens[key] = tokens
            samples[key] = PodSample(
                pod=key[1],
                sample_time=at - 1.0,
                running=running,
                waiting=0.0,
                kv_cache_usage=0.1,
                prompt_tokens=tokens,
                generation_tokens=tokens,
                finished_requests=float(int(tokens / 100)),
                rejected_requests=0.0,
            )
        answer = self.twist(FleetSamples(pods=samples))
        if self.recorded is not None:
            self.recorded.append((at, answer))
        return answer

    async def past(
        self, *, moments: Sequence[float], promised: Collection[Promised], of: Collection[DeploymentKey]
    ) -> PastSamples:
        if self.recorded is None:
            return PastSamples(problem="Prometheus cannot be asked")
        known = [(at, [fleet for time, fleet in self.recorded if time <= at][-1:]) for at in moments]
        return PastSamples(tuple((at, fleet[0] if fleet else FleetSamples()) for at, fleet in known))
