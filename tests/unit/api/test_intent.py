"""A variant's settings lie over the common ones, leaf by leaf."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.rule_examples import DEPLOYMENT_RULES, DRAFT, deployment
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import VariantIntent, overlay, plain, variant_intents
from inference_fleet.api.parse import parse_inference_deployment

leaves = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3)
trees = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), leaves | inner, max_size=3),
    max_leaves=12,
)


def intent(
    *, common: dict[str, Any] | None = None, variant: dict[str, Any] | None = None, **spec: Any
) -> VariantIntent:
    """The intent of one variant with `variant` in its engine settings, over `common`."""
    listed = {"name": "h100", "acceleratorClassName": "nvidia-h100-80gb", "engine": {"vllm": variant or {}}}
    spec.setdefault("variants", [listed])
    obj = deployment(engine={"vllm": common or {}}, **spec)
    parsed = parse_inference_deployment(obj)
    assert isinstance(parsed, InferenceDeploymentSpec), parsed
    (found,) = variant_intents(parsed, name="llama-8b")
    return found


def test_what_nobody_said_is_not_in_the_intent() -> None:
    said = plain(intent())
    assert said["engine"] == {"version": "0.33.0"}
    assert "pod" not in said


def test_the_served_name_is_the_objects_own_unless_said() -> None:
    assert intent().served_model_names == ("llama-8b",)
    assert intent(servedModelNames=["chat"]).served_model_names == ("chat",)


def test_leaves_of_a_variant_win_and_the_others_stay() -> None:
    engine = intent(
        common={"dtype": "bfloat16", "batching": {"maxNumSeqs": 256, "maxNumBatchedTokens": 8192}},
        variant={"batching": {"maxNumSeqs": 512}},
    ).engine
    assert plain(engine)["batching"] == {"maxNumSeqs": 512, "maxNumBatchedTokens": 8192}
    assert engine.dtype == "bfloat16"


def test_false_and_zero_win_over_true_and_more() -> None:
    engine = intent(
        common={"enforceEager": True, "optimizationLevel": 2}, variant={"enforceEager": False, "optimizationLevel": 0}
    ).engine
    assert engine.enforce_eager is False
    assert engine.optimization_level == 0


def test_lists_are_replaced() -> None:
    assert intent(common={"extraArgs": ["--seed=1"]}, variant={"extraArgs": ["--seed=2"]}).engine.extra_args == (
        "--seed=2",
    )
    assert intent(common={"extraArgs": ["--seed=1"]}, variant={"extraArgs": []}).engine.extra_args == ()


@pytest.mark.parametrize("part", ["quantization", "speculative"])
def test_none_undoes_a_common_method(part: str) -> None:
    method = {"quantization": "fp8_per_tensor", "speculative": "ngram"}[part]
    engine = intent(common={part: {"method": method}}, variant={part: {"method": "none"}}).engine
    assert getattr(engine, part) is None
    assert getattr(intent(common={part: {"method": method}}).engine, part).method == method


def test_another_speculative_method_replaces_the_common_one_whole() -> None:
    common = {"speculative": {"method": "ngram", "numSpeculativeTokens": 4, "promptLookupMax": 4}}
    engine = intent(common=common, variant={"speculative": {"method": "eagle3", "model": DRAFT}}).engine
    assert plain(engine)["speculative"] == {"method": "eagle3", "model": DRAFT}


def test_the_same_speculative_method_is_merged_and_keeps_its_draft() -> None:
    common = {"speculative": {"method": "draft_model", "model": DRAFT, "numSpeculativeTokens": 4}}
    engine = intent(common=common, variant={"speculative": {"method": "draft_model", "numSpeculativeTokens": 2}}).engine
    assert plain(engine)["speculative"] == {"method": "draft_model", "model": DRAFT, "numSpeculativeTokens": 2}


def test_a_variants_model_replaces_the_common_one_whole() -> None:
    other = {"name": "h100", "acceleratorClassName": "x", "model": {"s3": {"uri": "s3://bucket/quantized"}}}
    assert intent(variants=[other]).model.source == "s3"


def test_contradictions_that_only_merging_makes_do_not_raise() -> None:
    """They are the engine's to judge, for each variant on its own."""
    engine = intent(
        common={"batching": {"maxNumBatchedTokens": 512}}, variant={"batching": {"maxNumSeqs": 1024}}
    ).engine
    assert engine.batching is not None
    assert engine.batching.max_num_seqs == 1024


@pytest.mark.parametrize("example", DEPLOYMENT_RULES, ids=lambda example: example.message[:60])
def test_every_object_that_keeps_the_rules_has_its_intents(example: Any) -> None:
    parsed = parse_inference_deployment(example.good)
    assert isinstance(parsed, InferenceDeploymentSpec)
    assert len(variant_intents(parsed, name="x")) == len(parsed.variants)


def test_equal_meaning_is_one_object() -> None:
    one = intent(common={"dtype": "bfloat16", "maxModelLen": 8192})
    other = intent(common={"maxModelLen": 8192}, variant={"dtype": "bfloat16"})
    assert plain(one) == plain(other)
    assert plain(one)["engine"]["maxModelLen"] == 8192


@given(trees)
def test_nothing_laid_over_changes_nothing(tree: dict[str, Any]) -> None:
    assert overlay(tree, {}) == tree
    assert overlay({}, tree) == tree
    assert overlay(tree, tree) == tree


@given(trees, trees)
def test_every_leaf_laid_over_is_in_the_result(base: dict[str, Any], over: dict[str, Any]) -> None:
    def leaves_of(tree: dict[str, Any], at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
        found: dict[tuple[str, ...], Any] = {}
        for key, value in tree.items():
            found |= leaves_of(value, (*at, key)) if isinstance(value, dict) and value else {(*at, key): value}
        return found

    result = leaves_of(overlay(base, over))
    for path, value in leaves_of(over).items():
        if value != {}:
            assert result[path] == value
