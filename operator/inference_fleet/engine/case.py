"""What every check of a variant looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.api.vllm_engine import VllmEngine
from inference_fleet.engine.engine_plan import EffectiveLimits, ShapeSource
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.versions import EngineVersion

Finding = Refusal | Advice


@dataclass(frozen=True, kw_only=True)
class Case:
    """One variant beside what is known of its release, its accelerator and its model. facts None: nothing known."""

    intent: VariantIntent
    version: EngineVersion
    accelerator: AcceleratorClassSpec
    accelerator_name: str
    limits: EffectiveLimits
    facts: ModelFacts | None
    shape_source: ShapeSource

    @property
    def shape(self) -> ModelShape | None:
        """The part of the facts that a spec can give."""
        return self.facts

    @property
    def engine(self) -> VllmEngine:
        """The merged settings."""
        return self.intent.engine

    @property
    def platform(self) -> str:
        """CUDA, ROCm, XPU or CPU."""
        return self.accelerator.platform

    @property
    def capability(self) -> int | None:
        """Compute capability times ten; None off CUDA."""
        if self.platform != "CUDA":
            return None
        major, _, minor = self.accelerator.architecture.partition(".")
        return int(major) * 10 + int(minor) if major.isdigit() and minor.isdigit() else None

    @property
    def tensor_parallel_size(self) -> int:
        """Devices each layer is split over."""
        parallel = self.engine.parallelism
        return (parallel.tensor_parallel_size if parallel else None) or 1

    @property
    def model_parallel_size(self) -> int:
        """Devices one copy of the weights is split over: tensor times pipeline."""
        parallel = self.engine.parallelism
        return self.tensor_parallel_size * ((parallel.pipeline_parallel_size if parallel else None) or 1)

    @property
    def processes(self) -> int:
        """Workers of one replica: tensor times pipeline times data."""
        parallel = self.engine.parallelism
        return math.prod((self.model_parallel_size, (parallel.data_parallel_size if parallel else None) or 1))

    @property
    def devices(self) -> int:
        """Devices that one replica asks the node for; none on CPU."""
        return 0 if self.platform == "CPU" else self.processes

    def with_engine(self, engine: VllmEngine) -> Case:
        """The same with other settings; its limits are taken anew."""
        limits = effective_limits(engine, version=self.version, accelerator=self.accelerator, shape=self.facts)
        return replace(self, intent=self.intent.model_copy(update={"engine": engine}), limits=limits)


Check = Callable[[Case], Iterator[Finding]]
