"""What the operator makes of a drawn spec, beside the command line that asks vLLM the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from builders.checkpoint_configs import CHECKPOINTS, DRAFTS, checkpoint_facts
from builders.drawn_specs import ACCELERATORS, DrawnSpec
from builders.intents import make_accelerator, make_intent
from builders.refusal_rules import RefusalRule, rules_recorded
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.arguments import engine_arguments
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.versions import EngineVersion, engine_version


@dataclass(frozen=True)
class Judged:
    """`broken_rule`: what the API server says of it already. arguments: the command line, refused or not.

    rules: those that refused, in the order of refusals.
    """

    broken_rule: str | None
    refusals: tuple[Refusal, ...]
    rules: tuple[RefusalRule, ...]
    arguments: Sequence[str]

    @property
    def accepted(self) -> bool:
        return self.broken_rule is None and not self.refusals


def judged(drawn: DrawnSpec) -> Judged:
    """The operator's verdict."""
    spec = {
        "model": {"huggingFace": {"repository": drawn.repository}},
        "engine": {"vllm": drawn.vllm},
        "variants": [{"name": "one", "acceleratorClassName": drawn.accelerator}],
    }
    broken = None
    try:
        InferenceDeploymentSpec.model_validate(spec)
    except ValidationError as error:
        broken = error.errors()[0]["msg"]
    intent = make_intent(**spec)
    accelerator = _accelerator(drawn.accelerator)
    facts = checkpoint_facts(drawn.repository)
    with rules_recorded() as noted:
        result = check_variant(intent, accelerator, accelerator_name=drawn.accelerator, shape=facts)
    rules = tuple(noted[refusal] for refusal in result.refusals)
    if result.plan is not None:
        return Judged(broken, (), (), result.plan.args)
    arguments = _arguments(intent, accelerator=accelerator, repository=drawn.repository)
    return Judged(broken, result.refusals, rules, arguments)


def in_folder(arguments: Sequence[str], folder: Path) -> list[str]:
    """The same with folders in place of the repositories, which nobody could download."""
    words = []
    for word in arguments:
        for repository in (*CHECKPOINTS, *DRAFTS):
            if word == f"--model={repository}":
                word = f"--model={folder / repository}"
            if word.startswith("--speculative-config="):
                word = word.replace(f'"model":"{repository}"', f'"model":"{folder / repository}"')
        words.append(word)
    return words


def _arguments(intent: VariantIntent, *, accelerator: AcceleratorClassSpec, repository: str) -> tuple[str, ...]:
    """As they would be written if nothing were refused."""
    version = engine_version(intent.engine.version)
    assert isinstance(version, EngineVersion)
    facts = checkpoint_facts(repository)
    limits = effective_limits(intent.engine, version=version, accelerator=accelerator, shape=facts)
    return engine_arguments(intent, limits=limits)


@cache
def _accelerator(name: str) -> AcceleratorClassSpec:
    spec: Mapping[str, Any] = ACCELERATORS[name]
    return make_accelerator(**spec)
