"""The operator as a pod of a sandbox, under its own service account, and InferenceDeployments for it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference_fleet.api.intent import overlay
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.state import Settings

PROJECT = Path(__file__).resolve().parents[2]
OPERATOR_ACCOUNT = "system:serviceaccount:inference-fleet-system:inference-fleet"
_CLASS: Mapping[str, Any] = {
    "apiVersion": "inferencefleet.io/v1alpha1",
    "kind": "AcceleratorClass",
    "metadata": {"name": "gpu"},
    "spec": {
        "platform": "CUDA",
        "architecture": "8.9",
        "deviceMemory": "46068Mi",
        "devicesPerNode": 4,
        "devices": {"extendedResource": "nvidia.com/gpu"},
        "cost": {"perDeviceHour": "1.10"},
    },
}
_SPEC: Mapping[str, Any] = {
    "model": {"huggingFace": {"repository": "example/model"}},
    "engine": {"vllm": {"version": "0.32.0", "maxModelLen": 2048, "batching": {"maxNumSeqs": 8}}},
    "pod": {"env": [{"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "1"}]},
    "drain": {"endpointDelaySeconds": 1, "timeoutSeconds": 60},
    "variants": [{"name": "gpu", "acceleratorClassName": "gpu"}],
    "scaling": {"mode": "Automatic", "minReplicas": 1, "maxReplicas": 4},
    "rollout": {"minReadySeconds": 0},
}


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """An InferenceDeployment of small defaults with `spec` laid over them, as somebody keeps it in Git."""
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": overlay(_SPEC, spec),
    }


class OperatorSandbox:
    """A sandbox in which the operator runs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def install(self) -> None:
        """Definitions, operator and one accelerator class; returns when the operator is ready."""
        for name in ("acceleratorclasses", "inferencedeployments"):
            self.kubectl("apply", "-f", str(PROJECT / "crds" / f"{name}.yaml"))
        self._served("acceleratorclasses", "inferencedeployments")
        self.kubectl("apply", "--server-side", "-k", str(PROJECT / "tests" / "data" / "operator-overlay"))
        self.apply(_CLASS)
        self.operator_ready()

    def _served(self, *plurals: str) -> None:
        """Until the API server answers for these kinds; `kubectl wait` fails on a definition without a status yet."""
        for plural in plurals:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.kubectl("get", plural)
                continue
            self._served(plural)

    def operator_ready(self) -> None:
        """Wait until the operator's Deployment is rolled out."""
        system = ("-n", "inference-fleet-system")
        self.kubectl("rollout", "status", "deployment/inference-fleet", *system, "--timeout=120s")

    def scale_operator(self, replicas: int) -> None:
        """Run so many operators; with none, returns when its pods are gone."""
        system = ("-n", "inference-fleet-system")
        self.kubectl("scale", "deployment/inference-fleet", *system, f"--replicas={replicas}")
        if replicas:
            self.operator_ready()
        else:
            selector = "app.kubernetes.io/component=operator"
            self.kubectl("wait", "--for=delete", "pod", "-l", selector, *system, "--timeout=60s")

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 200.0) -> str:
        """Run kubectl; what it prints."""
        return self.sandbox.kubectl(*arguments, stdin=stdin, timeout_seconds=timeout_seconds)

    def apply(self, obj: Mapping[str, Any]) -> None:
        """Apply one object."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(obj))

    def deploy(self, name: str, **spec: Any) -> None:
        """Apply an InferenceDeployment of small defaults with `spec` laid over them."""
        self.apply(manifest(name, **spec))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object of the namespace `default`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def get_system(self, kind: str, name: str) -> dict[str, Any]:
        """One object of the operator's namespace."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, name, "-n", "inference-fleet-system", "-o", "json")
        )
        return found

    def items(self, kind: str, *, of: str) -> list[dict[str, Any]]:
        """All children of one kind of an InferenceDeployment."""
        selector = f"inferencefleet.io/deployment={of}"
        return list(json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json"))["items"])

    def wait(self, name: str, expression: str, value: str, *, seconds: int = 90) -> None:
        """Wait until a JSONPath of an InferenceDeployment has a value."""
        self._wait(name, f"jsonpath={{{expression}}}={value}", seconds=seconds)

    def wait_condition(self, name: str, condition: str, status: str = "True", *, seconds: int = 90) -> None:
        """Wait until an InferenceDeployment has a condition."""
        self._wait(name, f"condition={condition}={status}", seconds=seconds)

    def _wait(self, name: str, what: str, *, seconds: int) -> None:
        # kubectl's own time-out comes first: it says what it waited for.
        words = ("wait", f"infd/{name}", f"--for={what}", f"--timeout={seconds}s")
        self.kubectl(*words, timeout_seconds=seconds + 30.0)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition of an InferenceDeployment."""
        conditions = self.get("infd", name)["status"]["conditions"]
        return dict(next(entry for entry in conditions if entry["type"] == kind))

    def remove(self, *names: str) -> None:
        """Delete InferenceDeployments and wait until their pods are gone."""
        self.kubectl("delete", "infd", *names, "--ignore-not-found", "--wait=true")
        selector = f"inferencefleet.io/deployment in ({','.join(names)})"
        self.kubectl("wait", "--for=delete", "pod", "-l", selector, "--timeout=120s")

    def service_url(self, name: str) -> str:
        """The address of an InferenceDeployment's Service."""
        spec = self.get("service", name)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def on_node(self, *command: str) -> list[str]:
        """A command line that runs a command in the network of the first node, where Services are reached."""
        node = self.sandbox.status()["nodes"][0]
        pid = (self.sandbox.folder.node(node) / "node.pid").read_text(encoding="utf-8").strip()
        return list(self.sandbox.exec_command(("nsenter", f"--target={pid}", "--net", "--", *command)))

    def request(self, name: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """One request to an InferenceDeployment's Service: status and text."""
        script = (
            "import json,sys,urllib.request as u\n"
            "url, body = sys.argv[1], sys.argv[2]\n"
            "head = {'Content-Type': 'application/json'}\n"
            "r = u.urlopen(u.Request(url, body.encode() or None, head), timeout=60)\n"
            "print(r.status); print(r.read().decode())"
        )
        text = json.dumps(body) if body is not None else ""
        command = self.on_node(sys.executable, "-c", script, self.service_url(name) + path, text)
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        status, _, answer = done.stdout.partition("\n")
        return int(status), answer

    def audit(self) -> list[dict[str, Any]]:
        """The API server's audit log so far, finished requests only."""
        path = self.sandbox.folder.logs / "audit.log"
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [entry for entry in entries if entry.get("stage") == "ResponseComplete"]

    def operator_writes(self, *, since: int) -> list[tuple[str, str, str]]:
        """(verb, resource, name) of the operator's writes after the first `since` entries, Lease apart."""
        found = []
        for entry in self.audit()[since:]:
            reference = entry.get("objectRef") or {}
            reading = entry["verb"] in ("get", "list", "watch")
            if entry["user"]["username"] == OPERATOR_ACCOUNT and not reading and reference.get("resource") != "leases":
                found.append((entry["verb"], str(reference.get("resource")), str(reference.get("name"))))
        return found


@contextlib.contextmanager
def operator_sandbox(name: str, *, engine: str = "emulated", nodes: int = 1) -> Iterator[OperatorSandbox]:
    """A sandbox with the operator in it, for the length of a block."""
    settings = Settings(name=name, nodes=nodes, gpus_per_node=6, engine=engine, scrape_interval_seconds=2.0, audit=True)
    with Sandbox.start(settings) as sandbox:
        world = OperatorSandbox(sandbox)
        world.install()
        yield world
