"""Counting parameters from a shape, against the published counts of the catalogue."""

from __future__ import annotations

from inference_fleet.engine.model_catalogue import find_model, known_models
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.parameter_count import counted_active_parameters, counted_parameters
from inference_fleet.engine.weights import parameters_of


def facts(**shape: object) -> ModelFacts:
    return ModelFacts.model_validate(shape)


def test_nearly_every_catalogued_model_is_counted_within_three_percent() -> None:
    off = set()
    for row in known_models():
        model = ModelFacts.model_validate(row)
        counted = counted_parameters(model)
        assert counted is not None
        assert model.parameters is not None
        if abs(counted / model.parameters - 1) > 0.03:
            off.add(row["repository"].partition("/")[2])

    # Vision towers, layers with a state, and Gemma 4's heads of two sizes.
    assert off == {
        "Qwen3.5-9B", "Qwen3.5-27B", "Qwen3.5-35B-A3B", "Qwen3.5-122B-A10B", "Qwen3.6-27B-NVFP4",
        "gemma-3-4b-it", "gemma-3-12b-it", "gemma-4-26B-A4B-it",
    }  # fmt: skip


def test_of_experts_only_the_chosen_are_active() -> None:
    mixture, dense = find_model("mistralai/Mixtral-8x7B-Instruct-v0.1"), find_model("Qwen/Qwen3-8B")
    assert mixture is not None
    assert dense is not None
    assert mixture.parameters is not None
    assert mixture.active_parameters is not None

    active = counted_active_parameters(mixture, parameters=mixture.parameters)
    assert abs(active / mixture.active_parameters - 1) < 0.01
    assert counted_active_parameters(dense, parameters=8_000_000_000) == 8_000_000_000


def test_experts_of_unknown_width_are_taken_as_the_whole_model() -> None:
    unknown = facts(numLocalExperts=8, numExpertsPerTok=2)

    assert counted_active_parameters(unknown, parameters=800) == 200


def test_a_shape_that_lacks_a_size_is_not_counted() -> None:
    whole = {"numHiddenLayers": 2, "hiddenSize": 64, "intermediateSize": 256, "numAttentionHeads": 4, "vocabSize": 1000}

    assert counted_parameters(facts(**whole)) is not None
    for key in whole:
        assert counted_parameters(facts(**{name: size for name, size in whole.items() if name != key})) is None


def test_the_number_is_taken_from_whoever_says_it_first() -> None:
    shape = {"numHiddenLayers": 2, "hiddenSize": 64, "intermediateSize": 256, "numAttentionHeads": 4, "vocabSize": 1000}

    assert parameters_of(facts(**shape, parameters=7, weightsBytes=1000)) == 7
    assert parameters_of(facts(**shape, weightsBytes=1000)) == 500
    assert parameters_of(facts(**shape)) == counted_parameters(facts(**shape))
