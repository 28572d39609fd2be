"""How a replica is spread over devices."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding

_PATH = "engine.vllm.parallelism"
_VOCABULARY_STEP = 64


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


def key_value_heads(case: Case) -> Iterator[Finding]:
    """Heads of the cache are shared out evenly, or each is copied equally often (vLLM's attention layers)."""
    facts, devices = case.facts, case.tensor_parallel_size
    heads = facts.num_key_value_heads if facts and not facts.kv_lora_rank else None
    # What the query heads do not allow is said there.
    if facts is None or (facts.num_attention_heads or devices) % devices:
        return
    if heads and heads % devices and devices % heads:
        divisors = [str(n) for n in range(1, case.accelerator.devices_per_node + 1) if not (heads % n and n % heads)]
        message = f"{devices} neither divides the model's {heads} key-value heads nor is a multiple of them."
        way_out = f"Possible on one node: {', '.join(divisors)}."
        yield Refusal(f"{_PATH}.tensorParallelSize", Reason.CONFLICTING_SETTINGS, message, way_out)


def vocabulary(case: Case) -> Iterator[Finding]:
    """The embeddings, filled up to a multiple of 64, are shared out evenly (a start-up of Qwen3-14B on 5 devices)."""
    size, devices = case.facts.vocab_size if case.facts else None, case.tensor_parallel_size
    padded = -(-size // _VOCABULARY_STEP) * _VOCABULARY_STEP if size else 0
    if padded % devices:
        message = f"{devices} does not divide the model's vocabulary of {padded}."
        yield Refusal(f"{_PATH}.tensorParallelSize", Reason.CONFLICTING_SETTINGS, message, "Use a power of two.")


def layers(case: Case) -> Iterator[Finding]:
    """Every pipeline stage has at least one layer."""
    parallel = case.engine.parallelism
    stages = (parallel.pipeline_parallel_size if parallel else None) or 1
    known = case.shape.num_hidden_layers if case.shape else None
    if known and stages > known:
        message = f"{stages} stages are more than the model's {known} layers."
        yield Refusal(f"{_PATH}.pipelineParallelSize", Reason.CONFLICTING_SETTINGS, message, "Lower it.")


def experts(case: Case) -> Iterator[Finding]:
    """Expert parallelism spreads experts, data parallelism shares them: a model must have some."""
    parallel, shape = case.engine.parallelism, case.shape
    if parallel is None or shape is None or shape.num_hidden_layers is None or shape.num_local_experts:
        return
    correct = "If it has some, set model.shape.numLocalExperts."
    if parallel.enable_expert_parallel:
        message = "the model has no experts that could be spread."
        yield Refusal(f"{_PATH}.enableExpertParallel", Reason.CONFLICTING_SETTINGS, message, f"Leave it out. {correct}")
    if (parallel.data_parallel_size or 1) > 1:
        message = f"{parallel.data_parallel_size} copies of a model without experts in one pod share nothing."
        way_out = f"Leave it out: more replicas do the same, and are scaled one by one. {correct}"
        yield Refusal(f"{_PATH}.dataParallelSize", Reason.CONFLICTING_SETTINGS, message, way_out)
