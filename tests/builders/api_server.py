"""A real API server of one's own: etcd and kube-apiserver on free loopback ports, gone with the block that uses it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from inference_fleet.sandbox.tools import silent, tool_path

# The one that is tested everywhere; KUBERNETES_VERSION=1.36.4 tries the other.
KUBERNETES_VERSION = os.environ.get("KUBERNETES_VERSION", "1.37.1")
TOKEN = "test-admin"
_CRDS = Path(__file__).resolve().parents[2] / "crds"
_PR_SET_PDEATHSIG = 1
_READY_WITHIN_SECONDS = 120.0
_STOP_WITHIN_SECONDS = 15.0


class ApiServer:
    """Context manager with `url`, `token`, `kubeconfig` (a path), `kubectl(...)` and `request(...)`."""

    def __init__(
        self,
        *,
        kubernetes_version: str = KUBERNETES_VERSION,
        authorization: str = "AlwaysAllow",
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.kubernetes_version = kubernetes_version
        self.token = TOKEN
        self._authorization = authorization
        self._arguments = arguments
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> ApiServer:
        self.folder = Path(tempfile.mkdtemp(prefix="inference-fleet-api-server-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End both processes, the server first, and remove the folder."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(_STOP_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl against the server; the caller looks at the status."""
        return subprocess.run(
            [str(self._tool("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints; it must succeed."""
        done = self.kubectl(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def define(self) -> None:
        """Install our definitions; returns when they are served."""
        self.must("apply", "--server-side", "-k", str(_CRDS))
        self.must("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer of one request, as JSON."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._tls()) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def _start(self) -> None:
        client, peer, port = _free_ports(3)
        etcd = f"http://127.0.0.1:{client}"
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        key = self.folder / "service-account.key"
        key.write_bytes(_private_key())
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self.token},admin,admin,system:masters\n", encoding="utf-8")
        self.url = f"https://127.0.0.1:{port}"
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            f"--authorization-mode={self._authorization}",
            "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            *self._arguments,
        )
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(self._kubeconfig()), encoding="utf-8")
        self._wait_until_ready()

    def _run(self, tool: str, *arguments: str) -> None:
        with (self.folder / f"{tool}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(self._tool(tool)), *arguments],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    preexec_fn=_end_with_the_tests,
                )
            )

    def _tool(self, name: str) -> Path:
        return tool_path(name, kubernetes_version=self.kubernetes_version, progress=silent)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            for process in self._processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args!r} ended: {self._logs()}")
            try:
                request = urllib.request.Request(
                    f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"}
                )
                with urllib.request.urlopen(request, timeout=5, context=self._tls()):
                    return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"the API server was not ready within {_READY_WITHIN_SECONDS} s: {self._logs()}")

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.log")))

    def _tls(self) -> ssl.SSLContext:
        # The server signs its own certificate in the private folder above.
        return ssl._create_unverified_context()

    def _kubeconfig(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
            "current-context": "x",
        }


def _end_with_the_tests() -> None:
    """Have the kernel end this process when the tests are killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
