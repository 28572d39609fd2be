"""What every reason means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from inference_fleet.api.conditions import Reason

_NOTHING: Final = "Nothing."
_MESSAGE: Final = "The message names the field and what would work."

REASON_MEANINGS: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.INVALID_SPEC: ("A field cannot be read, or contradicts another.", _MESSAGE),
    Reason.NOT_SUPPORTED_YET: ("The field exists, but what it asks for is not built.", "Leave it out."),
    Reason.ACCELERATOR_CLASS_NOT_FOUND: (
        "There is no AcceleratorClass of this name.",
        "Create it, or name one that `kubectl get acceleratorclasses` lists.",
    ),
    Reason.ACCELERATOR_CLASS_INVALID: ("The AcceleratorClass cannot be read.", "Correct the class."),
    Reason.ACCELERATOR_CLASS_NOT_ALLOWED: (
        "The class's namespaceSelector does not match this namespace.",
        "Ask the platform team, or use another class.",
    ),
    Reason.UNKNOWN_VERSION: ("The operator has no data for this vLLM release.", "Use a release it knows."),
    Reason.VERSION_NOT_REVIEWED: (
        "The release is newer than the newest whose flags were checked; it is treated like that one.",
        "Nothing, or use a reviewed release.",
    ),
    Reason.UNSUPPORTED_SETTING: ("This vLLM release does not know the value.", _MESSAGE),
    Reason.UNSUPPORTED_ON_ACCELERATOR: ("The setting does not work on this accelerator.", _MESSAGE),
    Reason.CONFLICTING_SETTINGS: ("Two settings exclude each other.", _MESSAGE),
    Reason.OUT_OF_RANGE: ("A value is too small, too large, or not of its flag's kind.", _MESSAGE),
    Reason.FLAG_NOT_ALLOWED: (
        "extraArgs holds a flag that has a field of its own, or that may not be set.",
        _MESSAGE,
    ),
    Reason.TOO_MANY_DEVICES: (
        "A replica needs more devices than one node has.",
        "Use a class with larger nodes, or smaller parallel sizes.",
    ),
    Reason.DOES_NOT_FIT: ("The model does not fit the devices' memory.", "The message names the cheapest way out."),
    Reason.KNOWN_FAULT: ("This release is known to fail with these settings.", _MESSAGE),
    Reason.SHAPE_UNKNOWN: ("The model's shape is unknown: its memory is not checked.", "Set model.shape."),
    Reason.TIGHT_MEMORY: (
        "By the estimate it fits so tightly that it might not start.",
        "Lower maxModelLen, or take what the message names.",
    ),
    Reason.LENGTH_UNKNOWN: (
        "No length is set or known: the engine chooses one that fits its memory.",
        "Set maxModelLen or model.shape.maxPositionEmbeddings for a length that is known beforehand.",
    ),
    Reason.MAY_COST_THROUGHPUT: ("The setting may lower throughput.", "Measure it."),
    Reason.SAVES_MEMORY_ONLY: (
        "The setting saves memory but no time on this accelerator.",
        "Nothing, if memory was meant.",
    ),
    Reason.DEPRECATED: ("The setting will be removed by vLLM.", "Use its successor."),
    Reason.IGNORED: ("The field has no effect as things are.", "Leave it out."),
    Reason.JUDGED_AT_ANOTHER_THRESHOLD: (
        "vLLM counts latencies in steps, and the objective's threshold lies between two of them.",
        "Nothing if the threshold that the message names suits too; otherwise choose one that vLLM counts at.",
    ),
    Reason.ACCEPTED: ("The spec makes sense.", _NOTHING),
    Reason.SOME_VARIANTS_REFUSED: ("The spec is accepted without some variants.", "See status.variants[].refusals."),
    Reason.SPEC_NOT_ACCEPTED: (
        "The present spec is refused; the last accepted one keeps serving and scaling.",
        "Correct the fields that the condition Accepted names.",
    ),
    Reason.SERVING: ("The needed replicas serve.", _NOTHING),
    Reason.STARTING: ("No replica serves yet; some are on their way.", "Wait; see the pods if it takes long."),
    Reason.NOT_ENOUGH_REPLICAS: ("Fewer replicas serve than are needed.", "See the other conditions and the pods."),
    Reason.WAITING_FOR_DEVICES: ("A pod finds no node with free devices.", "Add nodes, or free devices."),
    Reason.QUOTA_EXCEEDED: ("A quota of the namespace forbids further pods.", "Raise the quota, or lower maxReplicas."),
    Reason.SCALED_TO_ZERO: (
        "The deployment is scaled to zero.",
        "Raise replicas or minReplicas if that was not meant.",
    ),
    Reason.ROLLING_OUT: ("The newest revision is replacing an older one.", "Wait."),
    Reason.ROLLED_OUT: ("All replicas run the accepted revision.", _NOTHING),
    Reason.ROLLOUT_PAUSED: ("spec.rollout.paused is true.", "Set it to false to continue."),
    Reason.ROLLOUT_FAILED: (
        "The newest revision did not become ready in time; the older one keeps serving.",
        "See the log of the pod that the message names, then change the spec.",
    ),
    Reason.SIGNALS_FRESH: ("The load is known.", _NOTHING),
    Reason.SIGNALS_IDLE: ("The load is known: there is none.", _NOTHING),
    Reason.SIGNALS_UNKNOWN: (
        "The load is not known: replicas stay as they are and are never lowered.",
        "See whether Prometheus is reachable and scrapes the pods that the message names; set clocks if it says so.",
    ),
    Reason.MANUAL: ("Replicas follow spec.replicas.", _NOTHING),
    Reason.EXTERNAL: ("Replicas follow /scale.", _NOTHING),
    Reason.DEVICES_AVAILABLE: ("No replica waits for devices.", _NOTHING),
    Reason.MAXIMUM: ("More replicas are recommended than the maximum allows.", "Raise maxReplicas if it should grow."),
    Reason.MINIMUM: ("The minimum keeps more replicas than are recommended.", _NOTHING),
    Reason.SCHEDULE: ("A schedule's bound decides.", _NOTHING),
    Reason.OBJECTIVE_UNREACHABLE: (
        "No number of replicas meets the objective.",
        "Use faster devices, or a looser one.",
    ),
    Reason.SUSPENDED: ("spec.suspend is true: the operator changes nothing.", "Set it to false to continue."),
    Reason.RENDERING_CHANGED: (
        "A newer operator or class would render the pods differently.",
        "Annotate the object with inferencefleet.io/apply-update and the id in status.updateAvailable.",
    ),
    Reason.OUT_OF_DEVICE_MEMORY: (
        "The engine ran out of the device's memory: for its weights, or for one sequence of the longest length.",
        "Lower maxModelLen to what the message proposes, or see `inference-fleet plan` for what would fit.",
    ),
    Reason.UNSUPPORTED_FLAG: ("The engine does not know a flag, or not its value.", "Use a flag of this release."),
    Reason.OUT_OF_HOST_MEMORY: (
        "Memory of the container or of its node is too small: the kernel ended the engine, or the node evicted it.",
        "Raise pod.resources.limits.memory, to more than the largest shard of the weights, and request what is used.",
    ),
    Reason.SETTING_REFUSED_BY_ENGINE: (
        "The engine refuses a setting that this operator takes for right.",
        "Change the setting that the pod's log names; such a difference is worth a bug report.",
    ),
    Reason.UNSUPPORTED_MODEL: (
        "This release of the engine does not know the model's architecture, or the model brings code of its own.",
        "Take a newer release, or set trustRemoteCode if you trust the repository.",
    ),
    Reason.MODEL_NOT_FOUND: (
        "There is no such model, revision or path, or no token that may see it.",
        "Check repository and revision, or claim and path; private models need tokenSecretRef.",
    ),
    Reason.MODEL_GATED: (
        "The model's owner lets only those in who asked, and this token's account is not among them.",
        "Ask for access on the model's page with the account of the token in tokenSecretRef.",
    ),
    Reason.MODEL_DAMAGED: (
        "The weights cannot be read: cut off, or not those of their configuration.",
        "Remove the cached copy, so that it is downloaded again, or fill the claim again.",
    ),
    Reason.TOKEN_REFUSED: ("The hub does not know the token.", "Put a valid token into the Secret of tokenSecretRef."),
    Reason.HUB_THROTTLED: (
        "The hub refuses because too many ask.",
        "Wait: it is tried again. Share downloaded weights, so that not every replica asks.",
    ),
    Reason.HUB_UNREACHABLE: (
        "The hub cannot be reached, or refuses for the moment, and nothing is cached.",
        "Allow egress to it, set pod.env HF_ENDPOINT to a mirror, or serve weights from a claim.",
    ),
    Reason.NO_SPACE: ("A disk is full.", "Give the cache more room, or let the node's images be cleaned up."),
    Reason.NO_DEVICE: (
        "The engine sees no device.",
        "See whether the device plugin and the driver run on the node that the message names.",
    ),
    Reason.NODE_FAULT: (
        "The device, its driver or the container runtime of a node fails.",
        "Cordon the node that the message names, and delete the pod.",
    ),
    Reason.REFUSED_BY_NODE: (
        "A node does not take a pod that the scheduler gave it: mostly it has fewer healthy devices than it promised.",
        "Cordon the node that the message names, and check its device plugin and devices.",
    ),
    Reason.POD_LOST: (
        "A node evicted a pod, shut down or went away; another pod is made.",
        "Nothing, unless it happens again: then look at the node that the message names.",
    ),
    Reason.IMAGE_NOT_AVAILABLE: ("The engine's image cannot be pulled.", "Check image and imagePullSecrets."),
    Reason.CONFIGURATION_MISSING: ("A Secret or claim that the pod needs is missing.", "Create it."),
    Reason.ENGINE_CRASHED: ("The engine ends again and again.", "See the log of the pod that the message names."),
    Reason.START_TOO_SLOW: (
        "The engine was not ready within its start budget, which grows with the size of the weights.",
        "See the log of the pod for what it waits for; a slow download is helped by shared weights.",
    ),
    Reason.LOADING: ("The engine loads its weights.", "Wait."),
    Reason.CREATED: ("A child object was created.", _NOTHING),
    Reason.SCALED: ("The number of replicas changed, or which variants they are of.", _NOTHING),
    Reason.DELETED: ("A child object was deleted.", _NOTHING),
    Reason.SCALER_MEMORY_DAMAGED: ("What the scaler had learned cannot be read: it starts again.", _NOTHING),
    Reason.NAME_TAKEN: (
        "An object with the name of a child exists and belongs to somebody else.",
        "Remove it, or rename the InferenceDeployment.",
    ),
    Reason.WRITE_REFUSED: ("The API server refuses a write; it is tried again later.", "See the message."),
}

# Kept for checks that are not built yet: nothing carries these reasons now.
RESERVED: Final = (
    Reason.MINIMUM,
    Reason.DELETED,
)
