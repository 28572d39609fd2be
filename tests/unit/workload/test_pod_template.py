"""The pod of a replica: what it gets of the intent, of the engine's plan and of the class, and nothing else."""

from __future__ import annotations

from typing import Any

from builders.intents import OWNER, make_accelerator, make_intent, make_plan
from inference_fleet.api.pod_settings import PodSettings
from inference_fleet.workload.pod_template import pod_template


def template(*, plan: dict[str, Any] | None = None, accelerator: dict[str, Any] | None = None, **spec: Any) -> Any:
    return pod_template(
        OWNER,
        intent=make_intent(**spec),
        engine=make_plan(**(plan or {})),
        accelerator=make_accelerator(**(accelerator or {})),
        revision="abcdef0123",
    )


def container(**spec: Any) -> Any:
    (only,) = template(**spec)["spec"]["containers"]
    return only


def environment(**spec: Any) -> dict[str, Any]:
    variables = container(**spec)["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names))
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in variables}


def mounts(**spec: Any) -> dict[str, Any]:
    return {mount["mountPath"]: mount for mount in container(**spec)["volumeMounts"]}


def volumes(**spec: Any) -> dict[str, Any]:
    return {volume["name"]: volume for volume in template(**spec)["spec"]["volumes"]}


def test_a_pod_carries_all_its_labels_from_birth() -> None:
    assert template()["metadata"]["labels"] == {
        "inferencefleet.io/deployment": "llama-8b",
        "inferencefleet.io/variant": "h100",
        "inferencefleet.io/role": "both",
        "inferencefleet.io/revision": "abcdef0123",
        "inferencefleet.io/rank": "0",
        "inferencefleet.io/serving": "true",
        "app.kubernetes.io/managed-by": "inference-fleet",
    }


def test_our_labels_win_over_the_users() -> None:
    # Refused at the door; an object stored before that rule existed must not unroute its pods either.
    settings = PodSettings.model_construct(labels={"team": "search", "inferencefleet.io/serving": "false"})
    intent = make_intent().model_copy(update={"pod": settings})
    got = pod_template(OWNER, intent=intent, engine=make_plan(), accelerator=make_accelerator(), revision="abcdef0123")
    assert got["metadata"]["labels"]["team"] == "search"
    assert got["metadata"]["labels"]["inferencefleet.io/serving"] == "true"


def test_the_engine_is_started_by_an_argument_list_that_the_kubelet_does_not_expand() -> None:
    got = container(plan={"command": ("vllm", "serve"), "args": ("--api-key=$(HF_TOKEN)", "--seed=0")})
    assert got["command"] == ["vllm", "serve"]
    assert got["args"] == ["--api-key=$$(HF_TOKEN)", "--seed=0"]


def test_a_users_value_is_not_expanded_either() -> None:
    assert environment(pod={"env": [{"name": "TZ", "value": "$(HF_TOKEN)"}]})["TZ"] == "$$(HF_TOKEN)"


def test_without_a_command_the_images_entrypoint_starts_the_engine() -> None:
    assert "command" not in container()


def test_the_engine_gets_no_token_and_no_addresses_of_other_services() -> None:
    spec = template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["serviceAccountName"] == "llama-8b-engine"


def test_the_grace_is_longer_than_the_wait_for_balancers_and_the_drain_together() -> None:
    drain = {"endpointDelaySeconds": 20, "timeoutSeconds": 300}
    assert template(drain=drain)["spec"]["terminationGracePeriodSeconds"] == 350
    assert container(drain=drain)["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}


def test_no_delay_needs_no_hook() -> None:
    assert "lifecycle" not in container(drain={"endpointDelaySeconds": 0})


def test_a_container_that_failed_a_probe_is_not_drained_for_minutes() -> None:
    got = container(drain={"timeoutSeconds": 7200})
    assert got["livenessProbe"]["terminationGracePeriodSeconds"] == 30
    assert got["startupProbe"]["terminationGracePeriodSeconds"] == 30


def test_the_start_budget_grows_with_the_weights() -> None:
    def budget(**shape: int) -> int:
        probe = container(model={"huggingFace": {"repository": "a/b"}, "shape": shape})["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    assert budget() == 1800
    assert budget(weightsBytes=140_000_000_000) == 2500


def test_devices_come_from_the_class_in_the_number_the_plan_needs() -> None:
    resources = container(
        plan={"devices_per_replica": 4},
        accelerator={"devices": {"extendedResource": "amd.com/gpu"}},
        pod={"resources": {"requests": {"cpu": "8", "memory": "48Gi"}, "limits": {"memory": "64Gi"}}},
    )["resources"]
    assert resources == {
        "requests": {"cpu": "8", "memory": "48Gi", "amd.com/gpu": "4"},
        "limits": {"memory": "64Gi", "amd.com/gpu": "4"},
    }


def test_a_class_of_processors_asks_for_no_devices() -> None:
    accelerator = {"platform": "CPU", "architecture": "x86-64", "devices": None}
    assert container(plan={"devices_per_replica": 0}, accelerator=accelerator)["resources"] == {}


def test_the_pod_goes_to_the_nodes_of_its_class() -> None:
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    spec = template(accelerator={"nodeSelector": {"pool": "h100"}, "tolerations": [toleration]})["spec"]
    assert spec["nodeSelector"] == {"pool": "h100"}
    assert spec["tolerations"] == [toleration]


def test_shared_memory_is_in_memory_and_bounded() -> None:
    assert mounts()["/dev/shm"]["name"] == "shared-memory"
    assert volumes(plan={"devices_per_replica": 4})["shared-memory"]["emptyDir"] == {
        "medium": "Memory",
        "sizeLimit": "8Gi",
    }
    assert volumes(pod={"sharedMemory": {"sizeLimit": "3Gi"}})["shared-memory"]["emptyDir"]["sizeLimit"] == "3Gi"


def test_caches_and_home_lie_on_volumes() -> None:
    assert {environment()["HOME"], "/cache", "/tmp"} <= set(mounts())


def test_a_user_without_an_entry_in_passwd_has_a_name() -> None:
    assert environment()["USER"] == "engine"


def test_media_do_not_follow_redirects_past_the_allowed_domains() -> None:
    assert environment()["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_a_shared_cache_is_the_claim_of_the_model() -> None:
    model = {
        "huggingFace": {"repository": "a/b"},
        "cache": {"persistentVolumeClaim": {"claimName": "weights"}},
    }
    assert volumes(model=model)["cache"]["persistentVolumeClaim"] == {"claimName": "weights"}
    assert volumes()["cache"]["emptyDir"] == {}


def test_weights_on_a_claim_are_mounted_read_only() -> None:
    model = {"huggingFace": None, "persistentVolumeClaim": {"claimName": "weights", "path": "llama"}}
    assert volumes(model=model)["weights"]["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}
    assert mounts(model=model)["/models/target"]["readOnly"] is True


def test_weights_in_an_image_are_mounted_as_an_image_volume() -> None:
    reference = "registry.example/llama@sha256:" + "0" * 64
    got = volumes(model={"huggingFace": None, "image": {"reference": reference}})["weights"]
    assert got["image"] == {"reference": reference, "pullPolicy": "IfNotPresent"}


def test_a_draft_on_a_claim_has_a_mount_of_its_own() -> None:
    draft = {"persistentVolumeClaim": {"claimName": "drafts"}}
    engine = {"vllm": {"version": "0.33.0", "speculative": {"method": "eagle3", "model": draft}}}
    assert mounts(engine=engine)["/models/draft"]["name"] == "draft-weights"


def test_secrets_are_only_referred_to() -> None:
    token = {"name": "hf", "key": "token"}
    model = {"huggingFace": {"repository": "a/b", "tokenSecretRef": token}}
    assert environment(model=model)["HF_TOKEN"] == {"secretKeyRef": token}


def test_a_gated_draft_brings_its_token_where_the_target_has_none() -> None:
    token = {"name": "hf", "key": "draft"}
    draft = {"huggingFace": {"repository": "a/d", "tokenSecretRef": token}}
    engine = {"vllm": {"version": "0.33.0", "speculative": {"method": "eagle3", "model": draft}}}
    assert environment(engine=engine)["HF_TOKEN"] == {"secretKeyRef": token}


def test_object_storage_takes_its_keys_from_the_secret_and_the_address_if_nobody_said_it() -> None:
    model = {"huggingFace": None, "s3": {"uri": "s3://models/llama", "credentialsSecretRef": {"name": "store"}}}
    got = environment(model=model)
    assert got["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "store", "key": "AWS_ACCESS_KEY_ID"}}
    assert got["AWS_ENDPOINT_URL"]["secretKeyRef"]["optional"] is True
    said = environment(model=model, pod={"env": [{"name": "AWS_ENDPOINT_URL", "value": "http://minio:9000"}]})
    assert said["AWS_ENDPOINT_URL"] == "http://minio:9000"


def test_the_engines_environment_wins_over_the_users() -> None:
    plan = {"env": (("OMP_NUM_THREADS", "4"), ("HF_HOME", "/elsewhere"))}
    got = environment(plan=plan, pod={"env": [{"name": "OMP_NUM_THREADS", "value": "9"}]})
    assert got["OMP_NUM_THREADS"] == "4"
    assert got["HF_HOME"] == "/elsewhere"


def test_replicas_of_one_revision_are_spread_among_themselves() -> None:
    (spread,) = template(pod={"topologySpread": [{"topologyKey": "kubernetes.io/hostname"}]})["spec"][
        "topologySpreadConstraints"
    ]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["maxSkew"] == 1
    assert spread["labelSelector"]["matchLabels"]["inferencefleet.io/revision"] == "abcdef0123"


def test_the_rest_of_the_pods_settings_arrive() -> None:
    got = template(
        pod={
            "annotations": {"example.org/note": "x"},
            "priorityClassName": "serving",
            "imagePullSecrets": [{"name": "registry"}],
        }
    )
    assert got["metadata"]["annotations"] == {"example.org/note": "x"}
    assert got["spec"]["priorityClassName"] == "serving"
    assert got["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_root_is_read_only_where_no_container_hook_writes_to_it() -> None:
    assert container()["securityContext"]["readOnlyRootFilesystem"] is False
    rocm = container(accelerator={"platform": "ROCm", "architecture": "gfx942"})
    assert rocm["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_last_words_of_a_failed_engine_are_kept() -> None:
    assert container()["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_engine_takes_its_logging_from_an_annotation_of_its_own_pod() -> None:
    got = template(plan={"logging": '{"version":1}'})
    (only,) = got["spec"]["containers"]
    (file,) = [volume for volume in got["spec"]["volumes"] if "downwardAPI" in volume]
    (item,) = file["downwardAPI"]["items"]
    (mount,) = [mount for mount in only["volumeMounts"] if mount["name"] == file["name"]]

    assert item["fieldRef"] == {"fieldPath": "metadata.annotations['inferencefleet.io/engine-logging']"}
    assert got["metadata"]["annotations"] == {"inferencefleet.io/engine-logging": '{"version":1}'}
    assert mount["readOnly"] is True
    assert {"name": "VLLM_LOGGING_CONFIG_PATH", "value": f"{mount['mountPath']}/{item['path']}"} in only["env"]
    # An image of the user's may have switched it off: with a file that would be refused.
    assert {"name": "VLLM_CONFIGURE_LOGGING", "value": "1"} in only["env"]


def test_an_engine_that_logs_its_own_way_gets_no_such_file() -> None:
    got = template(plan={"logging": None})
    assert "annotations" not in got["metadata"]
    assert not any("downwardAPI" in volume for volume in got["spec"]["volumes"])
    assert "VLLM_LOGGING_CONFIG_PATH" not in environment(plan={"logging": None})
