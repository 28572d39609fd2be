"""Variants with weights of their own beside the deployment's model: callers reach either by one name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.model_catalogue import catalogued
from inference_fleet.engine.model_facts import ModelFacts, with_shape

# One tokenizer's vocabulary is filled up to a multiple of at most this, by the size of the model: Qwen2.5 has 151,936
# rows at 3B and 152,064 at 7B (their config.json).
_PADDING_ROWS: Final = 512


def other_checkpoint(
    intent: VariantIntent, *, index: int, spec: InferenceDeploymentSpec, config: ModelFacts | None
) -> Iterator[Refusal | Advice]:
    """Where a variant brings weights of its own: the same tokens and the same length as the deployment's model.

    config: facts of the deployment's model from its config.json, where somebody has it at hand.
    """
    variant = spec.variants[index]
    if variant.model is None:
        return
    common = with_shape(config or catalogued(spec.model), spec.model.shape)
    own = with_shape(catalogued(variant.model), variant.model.shape)
    path = f"spec.variants[{index}].model"
    rows, own_rows = (facts.vocab_size if facts else None for facts in (common, own))
    if rows is not None and own_rows is not None and abs(rows - own_rows) > _PADDING_ROWS:
        message = (
            f"these weights have a vocabulary of {own_rows} tokens, spec.model one of {rows}: it is another model."
        )
        way_out = "Use a checkpoint of the same family, or an InferenceDeployment of its own."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, way_out, intent.variant)
    said = spec.engine.vllm.max_model_len if spec.engine.vllm else None
    length = said or (common.max_position_embeddings if common else None)
    own_length = intent.engine.max_model_len or (own.max_position_embeddings if own else None)
    if length is not None and own_length is not None and length != own_length:
        message = f"this variant serves {own_length} tokens of context, the deployment {length}: callers reach either."
        way_out = f"Set maxModelLen to at most {min(length, own_length)} in spec.engine.vllm, and leave it out here."
        at = path if intent.engine.max_model_len is None else f"spec.variants[{index}].engine.vllm.maxModelLen"
        yield Refusal(at, Reason.CONFLICTING_SETTINGS, message, way_out, intent.variant)
    unknown = [
        name
        for name, known in (
            ("vocabulary", None not in (rows, own_rows)),
            ("length of context", None not in (length, own_length)),
        )
        if not known
    ]
    if unknown:
        message = f"its {' and its '.join(unknown)} cannot be compared with spec.model's: one of them is not known."
        way_out = "See that the tokenizers are the same; model.shape of both (vocabSize, maxPositionEmbeddings) tells."
        yield Advice(path, Reason.SHAPE_UNKNOWN, message, way_out, intent.variant)
