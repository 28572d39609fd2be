"""Admission policies as manifests and as templates of the chart: for the operator's own account, and for tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.names import GROUP, INFERENCE_DEPLOYMENT_KIND, INFERENCE_DEPLOYMENT_PLURAL, LABEL_DEPLOYMENT
from inference_fleet.controller.permissions import permissions

NAME = "inference-fleet"
NAMESPACE = "inference-fleet-system"
ANNOTATION_REGISTRIES = f"{GROUP}/allowed-registries"
ANNOTATION_BUDGET = f"{GROUP}/device-budget"
# Events are about our objects and have no owner; the rest of the cluster-wide table is read only.
_NOT_CHILDREN = ("events", INFERENCE_DEPLOYMENT_PLURAL)
_ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
_NOTE = "Generated from scripts/admission_policies.py by `make generate`; do not edit."
_TENANTS_HEAD = f"""\
# {_NOTE}
# What a namespace may ask of the fleet, said by annotations of the Namespace, which tenants cannot write:
#   {ANNOTATION_REGISTRIES}: docker.io/vllm,registry.example.com/ml
#   {ANNOTATION_BUDGET}: "16"      devices that one InferenceDeployment may come to hold
# A namespace without an annotation is not limited by it. For a total over all of a namespace's InferenceDeployments
# add a ResourceQuota on its devices (requests.nvidia.com/gpu).
"""
_CHART_HEAD = f"{{{{- /* {_NOTE} */}}}}\n"

Object = dict[str, Any]


def generate() -> dict[str, str]:
    """The policies for kustomize, and the same ones behind the chart's switches."""
    own = [_own_objects(), _replicas_alone()]
    tenants = [_registries(), _budget()]
    return {
        "manifests/base/admission-policies.yaml": f"# {_NOTE}\n{_documents(own)}",
        "manifests/components/tenant-policies/tenant-policies.yaml": _TENANTS_HEAD + _documents(tenants),
        "charts/inference-fleet/templates/admission-policies.yaml": _CHART_HEAD
        + _switched("operator", own)
        + _switched("tenants", tenants),
    }


def _own_objects() -> Object:
    """The operator may touch what it has made, and nothing else of the same kinds."""
    label = f"o.metadata.?labels['{LABEL_DEPLOYMENT}'].orValue('')"
    owner = (
        f"r.?controller.orValue(false) && (r.kind == '{INFERENCE_DEPLOYMENT_KIND}'"
        f" && r.apiVersion.startsWith('{GROUP}/') && r.name == {label}"
        f" || request.resource.resource == 'pods' && r.kind == 'ReplicaSet' && r.name.startsWith({label} + '-'))"
    )
    return _policy(
        "own-objects",
        rules=_children(),
        conditions=[_by_the_operator()],
        variables={
            "views": "request.operation == 'CREATE' ? [object] : request.operation == 'DELETE' ? [oldObject]"
            " : [oldObject, object]"
        },
        validations=[
            (
                f"variables.views.all(o, {label} != '')",
                f"the operator writes only objects that carry the label {LABEL_DEPLOYMENT}",
            ),
            (
                f"variables.views.all(o, o.metadata.?ownerReferences.orValue([]).exists(r, {owner}))",
                "the operator writes only objects whose controller is an InferenceDeployment",
            ),
        ],
    )


def _replicas_alone() -> Object:
    """In an InferenceDeployment the operator may set spec.replicas, and status through its subresource."""
    fields = [_alias(name) for name in InferenceDeploymentSpec.model_fields if name != "replicas"]
    same = " && ".join(f"object.spec.?{name} == oldObject.spec.?{name}" for name in fields)
    described = ("labels", "annotations", "finalizers", "ownerReferences")
    kept = " && ".join(f"object.metadata.?{name} == oldObject.metadata.?{name}" for name in described)
    return _policy(
        "replicas-alone",
        rules=[_rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL,), ("UPDATE",))],
        conditions=[_by_the_operator()],
        variables={},
        validations=[
            (f"{same} && {kept}", "the operator writes nothing into an InferenceDeployment but spec.replicas")
        ],
    )


def _registries() -> Object:
    """Engine images and weights from images come from the registries that the namespace may use."""
    # Where no image is named the operator takes vLLM's own.
    common = "object.spec.engine.?vllm.?image.orValue('docker.io/vllm/default')"
    engines = f"object.spec.variants.map(v, v.?engine.?vllm.?image.orValue({common}))"
    drafts = (
        "[object.spec.engine.?vllm.?speculative.?model.?image.?reference]"
        " + object.spec.variants.map(v, v.?engine.?vllm.?speculative.?model.?image.?reference)"
    )
    weights = "[object.spec.model.?image.?reference] + object.spec.variants.map(v, v.?model.?image.?reference)"
    return _policy(
        "tenant-registries",
        rules=[_rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL,), ("CREATE", "UPDATE"))],
        conditions=[_wanted()],
        variables={
            "limited": _annotated(ANNOTATION_REGISTRIES),
            "allowed": f"namespaceObject.metadata.annotations['{ANNOTATION_REGISTRIES}'].split(',')"
            ".map(r, r.trim()).filter(r, r != '')",
            "engines": engines,
            "weights": f"({weights} + {drafts}).filter(i, i.hasValue()).map(i, i.value())",
            # "vllm/vllm-openai" is docker.io's; a first part with a dot or a port is a host.
            "images": "(variables.engines + variables.weights).map(i, i.matches('^[^/]*[.:][^/]*/') ||"
            " i.startsWith('localhost/') ? i : 'docker.io/' + i)",
            "strange": "variables.images.filter(i, !variables.allowed.exists(r, i.startsWith(r.endsWith('/') ? r"
            " : r + '/')))",
        },
        validations=[
            (
                "!variables.limited || variables.strange.size() == 0",
                "'images of this namespace come from ' + variables.allowed.join(', ') + ', not '"
                " + variables.strange.join(', ')",
            )
        ],
    )


def _budget() -> Object:
    """The most devices that one InferenceDeployment can come to hold, its rollouts' surge apart."""
    parallel = " * ".join(
        f"v.?engine.?vllm.?parallelism.?{part}.orValue(object.spec.engine.?vllm.?parallelism.?{part}.orValue(1))"
        for part in ("tensorParallelSize", "pipelineParallelSize", "dataParallelSize")
    )
    scheduled = "object.spec.?scaling.?schedules.orValue([]).map(s, s.?maxReplicas.orValue(0))"
    return _policy(
        "tenant-budget",
        rules=[
            _rule(
                GROUP,
                (INFERENCE_DEPLOYMENT_PLURAL, f"{INFERENCE_DEPLOYMENT_PLURAL}/scale"),
                ("CREATE", "UPDATE"),
            )
        ],
        conditions=[_wanted()],
        variables={
            "limited": _annotated(ANNOTATION_BUDGET),
            "budget": f"int(namespaceObject.metadata.annotations['{ANNOTATION_BUDGET}'])",
            "perReplica": f"object.spec.variants.map(v, {parallel}).max()",
            "replicas": "object.spec.?scaling.?mode.orValue('Automatic') == 'Automatic'"
            f" ? ([object.spec.?scaling.?maxReplicas.orValue(1)] + {scheduled}).max()"
            " : object.spec.?replicas.orValue(1)",
            # Of /scale only the count is seen: each replica holds a device at least.
            "devices": "object.kind == 'Scale' ? object.spec.?replicas.orValue(0)"
            " : variables.replicas * variables.perReplica",
        },
        validations=[
            (
                "!variables.limited || variables.devices <= variables.budget",
                "'one InferenceDeployment of this namespace may hold ' + string(variables.budget) + ' devices; this one"
                " could come to ' + string(variables.devices)",
            )
        ],
    )


def _children() -> list[Object]:
    """Kinds that the table lets the operator write, by group, with what may be done to them."""
    groups: dict[str, list[str]] = {}
    for each in permissions("cluster"):
        written = {"create", "patch", "update", "delete"} & set(each.verbs)
        if written and not each.subresource and each.resource.plural not in _NOT_CHILDREN:
            groups.setdefault(each.resource.group, []).append(each.resource.plural)
    return [_rule(group, plurals, ("CREATE", "UPDATE", "DELETE")) for group, plurals in groups.items()]


def _rule(group: str, plurals: Sequence[str], operations: Sequence[str]) -> Object:
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": list(plurals),
        "scope": "*",
    }


def _by_the_operator() -> Object:
    return {"name": "by-the-operator", "expression": f"request.userInfo.username == '{_ACCOUNT}'"}


def _annotated(annotation: str) -> str:
    """Whether the Namespace says it. Match conditions cannot ask: to them it is an empty object."""
    return f"'{annotation}' in namespaceObject.metadata.?annotations.orValue({{}})"


def _wanted() -> Object:
    """What ends, or is only described anew, is let through: a limit that came later must not hold up a deletion."""
    expression = "!has(object.metadata.deletionTimestamp) && (oldObject == null || object.spec != oldObject.spec)"
    return {"name": "asked-for-anew", "expression": expression}


def _policy(
    name: str,
    *,
    rules: list[Object],
    conditions: list[Object],
    variables: Mapping[str, str],
    validations: Sequence[tuple[str, str]],
) -> Object:
    """One policy. validations: (expression, message or, where it holds a quote, an expression for it)."""
    spec: Object = {
        "failurePolicy": "Fail",
        # With the API server's defaults: it is one value to server-side apply, and two tools that apply it agree.
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "resourceRules": rules,
        },
        "matchConditions": conditions,
    }
    if variables:
        spec["variables"] = [{"name": key, "expression": text} for key, text in variables.items()]
    spec["validations"] = [
        {
            "expression": expression,
            "messageExpression" if "'" in message else "message": message,
            "reason": "Forbidden",
        }
        for expression, message in validations
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"{NAME}-{name}"},
        "spec": spec,
    }


def _binding(policy: Object) -> Object:
    name = policy["metadata"]["name"]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _documents(policies: Sequence[Object]) -> str:
    objects = [obj for policy in policies for obj in (policy, _binding(policy))]
    return "---\n".join(yaml.safe_dump(obj, sort_keys=False, width=100) for obj in objects)


def _switched(switch: str, policies: Sequence[Object]) -> str:
    name = '{{ include "inference-fleet.name" . }}'
    text = _documents(policies)
    assert "{{" not in text
    text = text.replace(_ACCOUNT, f"system:serviceaccount:{{{{ .Release.Namespace }}}}:{name}")
    text = text.replace(f"name: {NAME}-", f"name: {name}-").replace(f"policyName: {NAME}-", f"policyName: {name}-")
    labels = '  labels: {{- include "inference-fleet.labels" . | nindent 4 }}\nspec:'
    text = "\n".join(labels if line == "spec:" else line for line in text.splitlines())
    return f"{{{{- if .Values.admissionPolicies.{switch} }}}}\n---\n{text}\n{{{{- end }}}}\n"


def _alias(name: str) -> str:
    alias = InferenceDeploymentSpec.model_fields[name].alias
    assert alias is not None
    return alias
