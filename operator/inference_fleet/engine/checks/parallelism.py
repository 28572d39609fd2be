"""How a replica is spread over devices."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding

_PATH = "engine.vllm.parallelism"


def devices_of_a_node(case: Case) -> Iterator[Finding]:
    """A replica is one pod: it has the devices of one node at most."""
    per_node = case.accelerator.devices_per_node
    if case.devices > per_node:
        message = f"a replica needs {case.devices} devices; a node of AcceleratorClass {case.accelerator_name} has"
        way_out = "Replicas cannot span nodes yet: use a class with more devices in a node, or smaller sizes."
        yield Refusal(_PATH, Reason.TOO_MANY_DEVICES, f"{message} {per_node}.", way_out)


def attention_heads(case: Case) -> Iterator[Finding]:
    """Tensor parallelism gives every device the same number of heads."""
    heads = case.shape.num_attention_heads if case.shape else None
    if heads and heads % case.tensor_parallel_size:
        divisors = [str(n) for n in range(1, case.accelerator.devices_per_node + 1) if heads % n == 0]
        message = f"{case.tensor_parallel_size} does not divide the model's {heads} attention heads."
        way_out = f"Possible on one node: {', '.join(divisors)}."
        yield Refusal(f"{_PATH}.tensorParallelSize", Reason.CONFLICTING_SETTINGS, message, way_out)


def layers(case: Case) -> Iterator[Finding]:
    """Every pipeline stage has at least one layer."""
    parallel = case.engine.parallelism
    stages = (parallel.pipeline_parallel_size if parallel else None) or 1
    known = case.shape.num_hidden_layers if case.shape else None
    if known and stages > known:
        message = f"{stages} stages are more than the model's {known} layers."
        yield Refusal(f"{_PATH}.pipelineParallelSize", Reason.CONFLICTING_SETTINGS, message, "Lower it.")


def experts(case: Case) -> Iterator[Finding]:
    """Expert parallelism spreads experts: a model must have some."""
    parallel, shape = case.engine.parallelism, case.shape
    if parallel is None or not parallel.enable_expert_parallel or shape is None or shape.num_hidden_layers is None:
        return
    if not shape.num_local_experts:
        message = "the model has no experts, as far as model.shape says."
        way_out = "Leave it out, or set model.shape.numLocalExperts."
        yield Refusal(f"{_PATH}.enableExpertParallel", Reason.CONFLICTING_SETTINGS, message, way_out)
