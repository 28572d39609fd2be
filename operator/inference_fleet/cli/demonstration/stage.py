"""The stage of a demonstration: a sandbox with the operator, the samples and a load that reaches them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import requests

from inference_fleet.api.names import ACCELERATOR_CLASS_KIND, API_VERSION, INFERENCE_DEPLOYMENT_KIND
from inference_fleet.sandbox.cluster import Sandbox, SandboxError
from inference_fleet.sandbox.namespaces import NamespacesForbidden
from inference_fleet.sandbox.state import Settings, UnusableState
from inference_fleet.sandbox.tools import ToolUnavailable

NAMESPACE: Final = "chat"
NAME: Final = "llama-8b"
# The manifests lie beside the package in a checkout; a demonstration is for people who look at the project.
PROJECT: Final = Path(__file__).resolve().parents[4]
_OVERRUN_QUERY: Final = "histogram_quantile(0.99, sum by (le) (inference_fleet_emulator_request_overrun_ratio_bucket))"
_POLL_SECONDS: Final = 0.5
_DEFINITIONS_WITHIN_SECONDS: Final = 60.0


class StageFailed(Exception):
    """The stage could not be set; the message says at which step and why."""


class Stage:
    """A running sandbox with everything applied. Use it as a context manager; leaving it takes everything down."""

    def __init__(self, *, name: str, engine: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._engine = engine
        self._say = say
        self._stack = ExitStack()
        self._sandbox: Sandbox | None = None
        self._said = ""

    def __enter__(self) -> Stage:
        manifests = PROJECT / "manifests" / self._overlay
        if not (manifests / "kustomization.yaml").exists():
            raise StageFailed(f"{manifests} is not there: run the demonstration from a checkout of the project")
        try:
            settings = Settings(
                name=self._name,
                nodes=2 if self._engine == "emulated" else 1,
                gpus_per_node=4,
                engine=self._engine,
                scrape_interval_seconds=5.0,
            )
            self._sandbox = self._stack.enter_context(
                Sandbox.start(settings, progress=lambda message, fraction: self._progress(message))
            )
            self._install(manifests)
        except (SandboxError, NamespacesForbidden, ToolUnavailable, UnusableState) as error:
            self._stack.close()
            raise StageFailed(str(error)) from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _progress(self, message: str) -> None:
        if message != self._said:
            self._said = message
            self._say(message)

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox; only inside the block."""
        assert self._sandbox is not None
        return self._sandbox

    @property
    def headline(self) -> str:
        """One line on what runs where."""
        return (
            f"sandbox    {self._name}: Prometheus {self.sandbox.prometheus_url}   kubeconfig {self.sandbox.kubeconfig}"
        )

    @property
    def _overlay(self) -> str:
        return "demo" if self._engine == "emulated" else "demo-vllm"

    def _install(self, manifests: Path) -> None:
        self._say("applying the definitions")
        self.kubectl("apply", "--server-side", "-f", str(PROJECT / "crds" / "acceleratorclasses.yaml"))
        self.kubectl("apply", "--server-side", "-f", str(PROJECT / "crds" / "inferencedeployments.yaml"))
        self._wait_for_definitions()
        self._say("applying the operator and the samples")
        self.kubectl("apply", "--server-side", "-k", str(manifests))

    def _wait_for_definitions(self) -> None:
        """Until the API server answers for both kinds; `kubectl wait` fails on a definition without a status yet."""
        deadline = time.monotonic() + _DEFINITIONS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(StageFailed, ValueError):
                served = json.loads(self.kubectl("get", "--raw", f"/apis/{API_VERSION}"))["resources"]
                if {resource["kind"] for resource in served} >= {INFERENCE_DEPLOYMENT_KIND, ACCELERATOR_CLASS_KIND}:
                    return
            time.sleep(_POLL_SECONDS)
        raise StageFailed(f"the API server does not serve {API_VERSION} after {_DEFINITIONS_WITHIN_SECONDS:.0f} s")

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl against the sandbox; returns what it prints."""
        try:
            return self.sandbox.kubectl(*arguments)
        except subprocess.CalledProcessError as error:
            raise StageFailed(f"kubectl {' '.join(arguments[:3])}: {str(error.stderr).strip()[-600:]}") from error

    def deployment(self) -> dict[str, Any]:
        """The InferenceDeployment as it is."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "infd", NAME, "-n", NAMESPACE, "-o", "json"))
        return found

    def wait_until_ready(self, *, within_seconds: float) -> dict[str, Any]:
        """The InferenceDeployment once it serves as specified."""
        deadline = time.monotonic() + within_seconds
        said = ""
        while time.monotonic() < deadline:
            obj = self.deployment()
            ready = next((c for c in _conditions(obj) if c["type"] == "Ready"), None)
            if ready is not None and ready["status"] == "True":
                return obj
            words = f"waiting for {NAME}: {ready['message'] if ready else 'the operator has not seen it yet'}"
            if words != said:
                self._say(words)
                said = words
            time.sleep(_POLL_SECONDS)
        raise StageFailed(f"{NAME} was not ready within {within_seconds:.0f} s: {said}")

    def service_url(self) -> str:
        """Where the load goes: the Service's address inside the sandbox."""
        service = json.loads(self.kubectl("get", "service", NAME, "-n", NAMESPACE, "-o", "json"))
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def load_command(self, arguments: Sequence[str]) -> list[str]:
        """The load generator's command line, to be run on this machine: it enters the network of the first node.

        Services have addresses on nodes only, as on any cluster.
        """
        node = self.sandbox.status()["nodes"][0]
        pid = (self.sandbox.folder.node(node) / "node.pid").read_text(encoding="utf-8").strip()
        generator = (sys.executable, "-m", "inference_fleet.load", "--url", self.service_url(), *arguments)
        return list(self.sandbox.exec_command(("nsenter", f"--target={pid}", "--net", "--", *generator)))

    def overrun_p99(self) -> float | None:
        """How much longer than their step model says requests took in the emulators, p99; None if not known."""
        try:
            answer = requests.get(
                f"{self.sandbox.prometheus_url}/api/v1/query", params={"query": _OVERRUN_QUERY}, timeout=5
            )
            rows = answer.json()["data"]["result"]
            return float(rows[0]["value"][1]) if rows else None
        except (requests.RequestException, ValueError, KeyError, IndexError):
            return None


def _conditions(obj: dict[str, Any]) -> list[dict[str, Any]]:
    return list((obj.get("status") or {}).get("conditions") or [])
