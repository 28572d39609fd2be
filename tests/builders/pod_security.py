"""The restricted pod security standard, as its documentation lists it: what is wrong with a pod's spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_POD_FIELDS = ("sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile")
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def violations(spec: Mapping[str, Any]) -> list[str]:
    """Rules of the restricted profile (and of the baseline beneath it) that the pod's spec breaks."""
    found = [f"{field} is set" for field in _HOST_FIELDS if spec.get(field)]
    pod_context = spec.get("securityContext") or {}
    found += [f"securityContext.{key} is set" for key in _POD_FIELDS if pod_context.get(key)]
    for volume in spec.get("volumes") or ():
        types = set(volume) - {"name"}
        if len(types) != 1 or not types <= _VOLUME_TYPES:
            found.append(f"volume {volume['name']} is of type {sorted(types)}")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            found += [f"{kind} {container['name']}: {what}" for what in _container(container, pod_context)]
    return found


def _container(container: Mapping[str, Any], pod_context: Mapping[str, Any]) -> list[str]:
    context = container.get("securityContext") or {}
    found = []
    if context.get("privileged"):
        found.append("privileged")
    if context.get("procMount", "Default") != "Default":
        found.append("procMount")
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation is not false")
    if context.get("runAsNonRoot", pod_context.get("runAsNonRoot")) is not True:
        found.append("runAsNonRoot is not true")
    if not context.get("runAsUser", pod_context.get("runAsUser")):
        found.append("the user is root or not said")
    seccomp = (context.get("seccompProfile") or pod_context.get("seccompProfile") or {}).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile is neither RuntimeDefault nor Localhost")
    capabilities = context.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()):
        found.append("ALL capabilities are not dropped")
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        found.append("capabilities are added")
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        found.append("hostPort")
    probes = (container.get(probe) or {} for probe in ("startupProbe", "readinessProbe", "livenessProbe"))
    found += ["a probe names a host" for probe in probes if (probe.get("httpGet") or {}).get("host")]
    return found
