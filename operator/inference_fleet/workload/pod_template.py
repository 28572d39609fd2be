"""The pod of one replica: an argument list, restricted security, devices of the class, and nothing of the user's CR."""

from __future__ import annotations

from typing import Any, Final

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.names import ANNOTATION_ENGINE_LOGGING, ENGINE_CONTAINER, ENGINE_PORT, ENGINE_PORT_NAME
from inference_fleet.api.pod_settings import EnvVar, PodSettings, ResourceAmounts
from inference_fleet.engine.engine_plan import EnginePlan
from inference_fleet.engine.failure_log import CONFIGURATION_VARIABLE, SWITCH_VARIABLE
from inference_fleet.workload.drain import grace_period_seconds
from inference_fleet.workload.labels import pod_labels, pool_selector
from inference_fleet.workload.owner import Owner
from inference_fleet.workload.probes import probes
from inference_fleet.workload.service_account import service_account_name
from inference_fleet.workload.volumes import HOME, LOGGING_PATH, engine_volumes

# A numeric user that no image gives a meaning to; restricted pod security wants one that is not root.
ENGINE_USER: Final = 65532
# Whatever a version's data does not say otherwise. A user without an entry in /etc/passwd needs USER: the compiler's
# cache asks for its name. Media are fetched by callers' URLs: a redirect would lead past the allowed domains.
_ENVIRONMENT: Final = {
    "HOME": HOME,
    "USER": "engine",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
}


def pod_template(
    owner: Owner, *, intent: VariantIntent, engine: EnginePlan, accelerator: AcceleratorClassSpec, revision: str
) -> dict[str, Any]:
    """The template as its ReplicaSet keeps it. Rendered once per revision, never again."""
    settings = intent.pod or PodSettings.model_validate({})
    volumes = engine_volumes(intent, engine=engine)
    metadata: dict[str, Any] = {
        "labels": {**(settings.labels or {}), **pod_labels(owner.name, variant=intent.variant, revision=revision)}
    }
    annotations = dict(settings.annotations or {})
    if engine.logging is not None:
        annotations[ANNOTATION_ENGINE_LOGGING] = engine.logging
    if annotations:
        metadata["annotations"] = annotations
    spec: dict[str, Any] = {
        "serviceAccountName": service_account_name(owner),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period_seconds(intent.drain),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": ENGINE_USER,
            "runAsGroup": ENGINE_USER,
            "fsGroup": ENGINE_USER,
            # Weights volumes hold hundreds of gigabytes: their owner is changed only if the root's is wrong.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(intent, engine, accelerator, settings)],
        "volumes": [mounted.volume for mounted in volumes],
    }
    spec["containers"][0]["volumeMounts"] = [mounted.mount for mounted in volumes]
    if accelerator.node_selector:
        spec["nodeSelector"] = dict(accelerator.node_selector)
    if accelerator.tolerations:
        spec["tolerations"] = [t.model_dump(by_alias=True, exclude_none=True) for t in accelerator.tolerations]
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret.name} for secret in settings.image_pull_secrets]
    if settings.priority_class_name:
        spec["priorityClassName"] = settings.priority_class_name
    if settings.topology_spread:
        selector = {"matchLabels": pool_selector(owner.name, variant=intent.variant, revision=revision)}
        spec["topologySpreadConstraints"] = [
            {
                "topologyKey": spread.topology_key,
                "maxSkew": spread.max_skew or 1,
                "whenUnsatisfiable": spread.when_unsatisfiable or "ScheduleAnyway",
                "labelSelector": selector,
            }
            for spread in settings.topology_spread
        ]
    return {"metadata": metadata, "spec": spec}


def _container(
    intent: VariantIntent, engine: EnginePlan, accelerator: AcceleratorClassSpec, settings: PodSettings
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": ENGINE_CONTAINER,
        "image": engine.image,
        "args": [literal(word) for word in engine.args],
        "env": _environment(intent, engine, settings),
        "ports": [{"name": ENGINE_PORT_NAME, "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        "resources": _resources(engine, accelerator, settings),
        **probes(weights_bytes=_weights_bytes(intent, engine)),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            # NVIDIA's container hook writes the linker's cache into the container's root when it starts.
            "readOnlyRootFilesystem": accelerator.platform != "CUDA",
        },
    }
    if engine.command:
        container["command"] = [literal(word) for word in engine.command]
    if intent.drain.endpoint_delay_seconds:
        # Balancers learn of the end before the engine does: vLLM answers new requests with 500 while it drains.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": intent.drain.endpoint_delay_seconds}}}
    return container


def _weights_bytes(intent: VariantIntent, engine: EnginePlan) -> int | None:
    """What a start has to load: as the user says, or as the memory check reckons for the devices of one copy."""
    shape, parallel = intent.model.shape, intent.engine.parallelism
    if shape is not None and shape.weights_bytes is not None:
        return shape.weights_bytes
    if engine.memory.weights_bytes is None:
        return None
    tensor, pipeline = (parallel.tensor_parallel_size, parallel.pipeline_parallel_size) if parallel else (None, None)
    return engine.memory.weights_bytes * (tensor or 1) * (pipeline or 1)


def _environment(intent: VariantIntent, engine: EnginePlan, settings: PodSettings) -> list[dict[str, Any]]:
    """Ours first, then the user's; a name stands once, ours wins."""
    logging = {CONFIGURATION_VARIABLE: LOGGING_PATH, SWITCH_VARIABLE: "1"} if engine.logging is not None else {}
    ours = (*_ENVIRONMENT.items(), *engine.env, *logging.items())
    found = {name: _value(name, value) for name, value in ours}
    for variable in (*_secrets(intent), *(_variable(variable) for variable in settings.env or ()), *_endpoint(intent)):
        found.setdefault(variable["name"], variable)
    return list(found.values())


def _secrets(intent: VariantIntent) -> list[dict[str, Any]]:
    """References that the kubelet resolves: we never read a Secret. The target's token comes before the draft's."""
    draft = intent.engine.speculative.model if intent.engine.speculative else None
    found = []
    for model in (intent.model, draft):
        if model is None:
            continue
        if model.hugging_face is not None and model.hugging_face.token_secret_ref is not None:
            token = model.hugging_face.token_secret_ref
            found.append(_from_secret("HF_TOKEN", secret=token.name, key=token.key))
        if model.s3 is not None and model.s3.credentials_secret_ref is not None:
            secret = model.s3.credentials_secret_ref.name
            found += [_from_secret(key, secret=secret, key=key) for key in _S3_KEYS]
    return found


_S3_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _endpoint(intent: VariantIntent) -> list[dict[str, Any]]:
    """The object storage's address, where neither the engine's nor the user's environment has it."""
    if intent.model.s3 is None or intent.model.s3.credentials_secret_ref is None:
        return []
    secret = intent.model.s3.credentials_secret_ref.name
    return [_from_secret("AWS_ENDPOINT_URL", secret=secret, key="AWS_ENDPOINT_URL", optional=True)]


def _from_secret(name: str, *, secret: str, key: str, **more: bool) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def _variable(variable: EnvVar) -> dict[str, Any]:
    if variable.secret_key_ref is not None:
        return _from_secret(variable.name, secret=variable.secret_key_ref.name, key=variable.secret_key_ref.key)
    return _value(variable.name, variable.value or "")


def _value(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": literal(value)}


def literal(text: str) -> str:
    """`text` so that the kubelet hands it on as it is: it would put variables in place of `$(NAME)`."""
    return text.replace("$", "$$")


def _resources(engine: EnginePlan, accelerator: AcceleratorClassSpec, settings: PodSettings) -> dict[str, Any]:
    """The user's amounts, and the devices of the class: requests and limits of an extended resource are equal."""
    requests = _amounts(settings.resources.requests if settings.resources else None)
    limits = _amounts(settings.resources.limits if settings.resources else None)
    resource = accelerator.devices.extended_resource if accelerator.devices else None
    if resource and engine.devices_per_replica:
        limits[resource] = str(engine.devices_per_replica)
        requests[resource] = str(engine.devices_per_replica)
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _amounts(amounts: ResourceAmounts | None) -> dict[str, str]:
    if amounts is None:
        return {}
    pairs = (("cpu", amounts.cpu), ("memory", amounts.memory), ("ephemeral-storage", amounts.ephemeral_storage))
    return {key: value for key, value in pairs if value}
