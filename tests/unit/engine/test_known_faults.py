"""Known faults: the releases they are in, the settings that meet them, and who may accept them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.checks.faults import faults, findings
from inference_fleet.engine.known_faults import FEATURES, KnownFault, known_faults
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions

FAULT = KnownFault(
    advisory="CVE-2026-1",
    introduced="0.31.0",
    fixed="0.33.0",
    feature="speculation:ngram_gpu",
    score=8.8,
    action="refuse",
    what="one request ends the engine",
    source="test",
)
NGRAM_GPU = {"method": "ngram_gpu", "numSpeculativeTokens": 3}


def case(version: str, *, accepted: tuple[str, ...] | None = None, model: Any = None, **vllm: Any) -> Case:
    known = engine_version("0.33.0")
    assert isinstance(known, EngineVersion)
    intent = make_intent(engine={"vllm": vllm}, **({"model": model} if model else {}))
    accelerator = make_accelerator(acceptedRisks=accepted)
    return Case(
        intent=intent,
        version=replace(known, version=version),
        accelerator=accelerator,
        accelerator_name="h100",
        limits=effective_limits(intent.engine, version=known, accelerator=accelerator, shape=None),
        facts=None,
        shape_source="unknown",
    )


def found(version: str, fault: KnownFault = FAULT, **more: Any) -> list[Finding]:
    return list(findings(case(version, **more), (fault,)))


@pytest.mark.parametrize("fault", known_faults(), ids=lambda fault: fault.advisory)
def test_every_entry_says_what_it_needs(fault: KnownFault) -> None:
    assert fault.feature.partition(":")[0] in FEATURES
    assert fault.source
    assert fault.fixed is None or not fault.affects(fault.fixed)
    assert list(findings(case("0.0.1"), (fault,))) is not None


def test_an_advisory_stands_there_once() -> None:
    advisories = [fault.advisory for fault in known_faults()]

    assert len(advisories) == len(set(advisories))


@pytest.mark.parametrize(("version", "count"), [("0.30.9", 0), ("0.31.0", 1), ("0.32.4", 1), ("0.33.0", 0)])
def test_a_fault_is_met_from_where_it_came_to_where_it_was_fixed(version: str, count: int) -> None:
    assert len(found(version, speculative=NGRAM_GPU)) == count


def test_a_fault_is_met_only_by_the_setting_that_meets_it() -> None:
    assert found("0.32.0") == []
    (finding,) = found("0.32.0", speculative=NGRAM_GPU)

    assert isinstance(finding, Refusal)
    assert (finding.path, finding.reason) == ("engine.vllm.speculative.method", Reason.KNOWN_FAULT)
    assert "CVE-2026-1 (CVSS 8.8): one request ends the engine." in finding.message
    assert finding.suggestion is not None
    assert "Use vLLM 0.33.0 or newer" in finding.suggestion


@pytest.mark.parametrize(
    ("feature", "settings", "path"),
    [
        ("always", {}, "engine.vllm.version"),
        ("trustRemoteCode", {"trustRemoteCode": True}, "engine.vllm.trustRemoteCode"),
        ("promptEmbeds", {"extraArgs": ["--enable-prompt-embeds"]}, "engine.vllm.extraArgs"),
        ("kvConnector", {"extraArgs": ["--kv-transfer-config={}"]}, "engine.vllm.extraArgs"),
        (
            "pinnedRevision",
            {"model": {"huggingFace": {"repository": "a/b", "revision": "c"}}},
            "model.huggingFace.revision",
        ),
    ],
)
def test_each_feature_is_found_by_its_setting(feature: str, settings: dict[str, Any], path: str) -> None:
    fault = replace(FAULT, feature=feature)

    assert [finding.path for finding in found("0.32.0", fault, **settings)] == [path]
    assert feature == "always" or found("0.32.0", fault) == []


def test_the_platform_team_accepts_a_fault_and_it_is_still_said() -> None:
    (finding,) = found("0.32.0", accepted=("CVE-2026-1",), speculative=NGRAM_GPU)

    assert isinstance(finding, Advice)
    assert "AcceleratorClass h100 accepts it" in finding.message
    assert isinstance(found("0.32.0", accepted=("CVE-2026-2",), speculative=NGRAM_GPU)[0], Refusal)


def test_a_fault_that_only_warns_and_one_without_a_fix_say_so() -> None:
    (finding,) = found("0.34.0", replace(FAULT, action="warn", fixed=None), speculative=NGRAM_GPU)

    assert isinstance(finding, Advice)
    assert finding.suggestion == "No release has a fix yet, or do without this setting."


@pytest.mark.parametrize("version", known_versions())
def test_the_offered_releases_have_none_of_the_published_faults(version: str) -> None:
    assert list(faults(case(version, speculative=NGRAM_GPU))) == []


def test_an_older_release_would_be_refused_for_them() -> None:
    assert {finding.reason for finding in faults(case("0.29.0", speculative=NGRAM_GPU))} == {Reason.KNOWN_FAULT}


def test_a_variant_is_checked_for_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "inference_fleet.engine.checks.faults.known_faults", lambda: (replace(FAULT, fixed=None, feature="always"),)
    )

    result = check_variant(make_intent(), make_accelerator(), accelerator_name="h100")
    assert [refusal.reason for refusal in result.refusals] == [Reason.KNOWN_FAULT]
