"""The API's group, kinds, and every label and annotation key of ours."""

from __future__ import annotations

from typing import Final

GROUP: Final = "inferencefleet.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

INFERENCE_DEPLOYMENT_KIND: Final = "InferenceDeployment"
INFERENCE_DEPLOYMENT_PLURAL: Final = "inferencedeployments"
ACCELERATOR_CLASS_KIND: Final = "AcceleratorClass"
ACCELERATOR_CLASS_PLURAL: Final = "acceleratorclasses"

FIELD_MANAGER: Final = "inference-fleet"
LEASE_NAME: Final = "inference-fleet"
MANAGED_BY: Final = "inference-fleet"

LABEL_DEPLOYMENT: Final = f"{GROUP}/deployment"
LABEL_VARIANT: Final = f"{GROUP}/variant"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_RANK: Final = f"{GROUP}/rank"
LABEL_SERVING: Final = f"{GROUP}/serving"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"

ANNOTATION_APPLY_UPDATE: Final = f"{GROUP}/apply-update"
ANNOTATION_RENDERED: Final = f"{GROUP}/rendered"
ANNOTATION_ENGINE_LOGGING: Final = f"{GROUP}/engine-logging"
ANNOTATION_POD_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

ENGINE_CONTAINER: Final = "engine"
ENGINE_PORT_NAME: Final = "http"
ENGINE_PORT: Final = 8000

# An InferenceDeployment's name with variant and revision must fit a label and a pod name (63 characters):
# 40 + 1 + 12 + 1 + 10 = 64 would be one too many for a ReplicaSet's pods, so ReplicaSet names stay below 58.
MAXIMUM_NAME_LENGTH: Final = 40
MAXIMUM_VARIANT_NAME_LENGTH: Final = 12
