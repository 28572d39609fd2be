"""The built-in catalogue of models: complete, sourced, found by name."""

from __future__ import annotations

from typing import Any

import pytest

from inference_fleet.api.checkpoint import Checkpoint, ModelShape
from inference_fleet.engine.model_catalogue import catalogued, find_model, known_models
from inference_fleet.engine.model_facts import ModelFacts, with_shape


def checkpoint(**source: Any) -> Checkpoint:
    return Checkpoint.model_validate(source)


@pytest.mark.parametrize("row", known_models(), ids=lambda row: row["repository"])
class TestEveryEntry:
    def test_has_a_source(self, row: dict[str, Any]) -> None:
        assert len(row["source"]) > 10

    def test_is_read_without_losing_a_key(self, row: dict[str, Any]) -> None:
        facts = ModelFacts.model_validate(row)
        read = facts.model_dump(by_alias=True, exclude_none=True)
        assert read == {key: value for key, value in row.items() if key not in ("repository", "aliases", "source")}

    def test_accounts_for_every_layer(self, row: dict[str, Any]) -> None:
        facts = ModelFacts.model_validate(row)
        assert facts.layer_pattern is None or len(facts.layer_pattern) == facts.num_hidden_layers
        assert (facts.full_attention_layers or 0) + (facts.windowed_layers or 0) + facts.state_layers > 0

    def test_has_no_more_experts_and_embeddings_than_parameters(self, row: dict[str, Any]) -> None:
        facts = ModelFacts.model_validate(row)
        assert facts.expert_parameters is not None
        assert facts.parameters is not None
        assert facts.expert_parameters + facts.embedding_parameters < facts.parameters


def test_names_are_told_apart() -> None:
    names = [name.casefold() for row in known_models() for name in (row["repository"], *row.get("aliases", ()))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B-Instruct", "META-LLAMA/llama-3.1-8b"])
def test_a_model_is_found_by_any_of_its_names_in_any_case(name: str) -> None:
    facts = find_model(name)
    assert facts is not None
    assert (facts.num_hidden_layers, facts.parameters) == (32, 8030261248)


def test_a_model_that_is_not_there_is_unknown() -> None:
    assert find_model("org/llama-3.1-8b") is None


def test_only_a_repository_says_which_model_it_is() -> None:
    path = "meta-llama/Llama-3.1-8B-Instruct"
    assert catalogued(checkpoint(huggingFace={"repository": path})) is not None
    assert catalogued(checkpoint(persistentVolumeClaim={"claimName": "weights", "path": path})) is None


def test_what_the_spec_says_goes_over_the_catalogue() -> None:
    facts = with_shape(find_model("Qwen/Qwen3-8B"), ModelShape.model_validate({"maxPositionEmbeddings": 131072}))
    assert facts is not None
    assert (facts.max_position_embeddings, facts.num_hidden_layers) == (131072, 36)


def test_a_shape_without_catalogue_stands_alone() -> None:
    facts = with_shape(None, ModelShape.model_validate({"numHiddenLayers": 4, "slidingWindow": 128}))
    assert facts is not None
    assert (facts.full_attention_layers, facts.windowed_layers, facts.state_layers) == (0, 4, 0)
    assert with_shape(None, None) is None
