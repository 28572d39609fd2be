"""Whatever is sent for a field of engine, model or pod: it is refused, or the engine gets exactly that and no shell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from builders.crd_schema import violations
from builders.hostile_values import hostile_values, leaves, spec_with
from builders.intents import OWNER, make_accelerator
from builders.pod_security import violations as pod_violations
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import variant_intents
from inference_fleet.api.parse import parse_inference_deployment
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line
from inference_fleet.engine.versions import EngineVersion, engine_version
from inference_fleet.workload.pod_template import pod_template

LEAVES = [(path, schema) for part in ("engine", "model", "pod") for path, schema in leaves(part)]
ACCELERATOR = make_accelerator()
LEAST_VALUES = 15
# Said in every command line, or by something that stands beside its field.
ALWAYS = {
    "model",
    "served_model_name",
    "host",
    "port",
    "shutdown_timeout",
    "disable_access_log_for_endpoints",
    "allowed_media_domains",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
}


@pytest.mark.parametrize(("path", "schema"), LEAVES, ids=[".".join(path) for path, _ in LEAVES])
def test_a_hostile_value_is_refused_or_arrives_as_it_is(path: tuple[str, ...], schema: Mapping[str, Any]) -> None:
    values = hostile_values(schema)
    assert len(values) >= LEAST_VALUES
    for value in values:
        spec = spec_with(path, value)
        read = parse_inference_deployment({"metadata": {"name": "m"}, "spec": spec})
        # What the server would not store never gets here; reading it must not end the operator all the same.
        if violations("InferenceDeployment", "spec", spec) or not isinstance(read, InferenceDeploymentSpec):
            continue
        (intent,) = variant_intents(read, name="m")
        result = check_variant(intent, ACCELERATOR, accelerator_name="h100")
        if result.plan is None:
            assert all(refusal.message and refusal.path for refusal in result.refusals)
            continue
        template = pod_template(
            OWNER, intent=intent, engine=result.plan, accelerator=ACCELERATOR, revision="abcdef0123"
        )
        (container,) = template["spec"]["containers"]
        assert "command" not in container
        assert pod_violations(template["spec"]) == []
        handed_on = [handed_on_by_the_kubelet(word, container["env"]) for word in container["args"]]
        assert handed_on == list(result.plan.args)
        assert_meant(spec, handed_on, version=intent.engine.version)


def handed_on_by_the_kubelet(word: str, environment: Sequence[Mapping[str, Any]]) -> str:
    """`$(NAME)` is replaced where the container has that variable, `$$` is one dollar."""
    names = {variable["name"] for variable in environment}

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return "REPLACED" if match[1] in names else match[0]

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, word)


def assert_meant(spec: Mapping[str, Any], arguments: Sequence[str], *, version: str) -> None:
    """The words parsed back are what the spec says: field by field, by the release's own table of fields."""
    parsed = parse_command_line(version, arguments)
    release = engine_version(version)
    assert isinstance(parsed, ParsedCommandLine), (spec, parsed)
    assert isinstance(release, EngineVersion)
    extra = spec["engine"]["vllm"].get("extraArgs", ())
    meant = {}
    for flag in release.flags.values():
        value = at(spec, flag.field) if flag.field else None
        if value is not None and flag.name not in ("model", "load_format", "spec_method", "spec_model", "spec_tokens"):
            meant[flag.name] = value
    if "gpu_memory_utilization" in meant:
        meant["gpu_memory_utilization"] = meant["gpu_memory_utilization"] / 100
    if "optimization_level" in meant:
        meant["optimization_level"] = str(meant["optimization_level"])
    speculative = meant.pop("speculative_config", None)
    for name, value in meant.items():
        # What is the release's default need not be said.
        assert parsed.values.get(name, release.flags[name].default) == value, (name, spec)
    if speculative is not None:
        assert parsed.values["speculative_config"] == as_vllm_says_it(speculative), spec
    assert parsed.values["model"] == weights(spec["model"]), spec
    others = parsed.values.keys() - meant.keys() - ALWAYS - {"speculative_config", "load_format"}
    assert others == {word.partition("=")[0][2:].replace("-", "_") for word in extra}, spec


def at(spec: Mapping[str, Any], field: str) -> Any:
    node: Any = spec
    for part in field.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def weights(model: Mapping[str, Any], *, mount: str = "/models/target") -> str:
    if "huggingFace" in model:
        return str(model["huggingFace"]["repository"])
    if "s3" in model:
        return str(model["s3"]["uri"])
    (source,) = (model[name] for name in ("persistentVolumeClaim", "image") if name in model)
    return f"{mount}/{source['path']}" if source.get("path") else mount


def as_vllm_says_it(speculative: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in vLLM's own spelling."""
    said = {
        re.sub(r"[A-Z]", lambda capital: "_" + capital[0].lower(), name): value for name, value in speculative.items()
    }
    model = said.pop("model", None)
    if model is not None:
        said["model"] = weights(model, mount="/models/draft")
        revision = model.get("huggingFace", {}).get("revision")
        said |= {"revision": revision} if revision else {}
    rows = said.pop("num_speculative_tokens_per_batch_size", None)
    if rows:
        said["num_speculative_tokens_per_batch_size"] = [list(row.values()) for row in rows]
    return said


def test_a_variable_in_an_argument_is_not_what_the_kubelet_makes_of_it() -> None:
    """The check itself: without the pod's escaping a secret of the pod would stand in the command line."""
    assert handed_on_by_the_kubelet("$(HF_TOKEN)", [{"name": "HF_TOKEN"}]) == "REPLACED"
    assert handed_on_by_the_kubelet("$$(HF_TOKEN)", [{"name": "HF_TOKEN"}]) == "$(HF_TOKEN)"
