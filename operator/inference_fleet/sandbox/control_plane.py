"""etcd, the API server, the controller manager and the scheduler: their identities and command lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox import certificates
from inference_fleet.sandbox.certificates import Authority, KeyPair
from inference_fleet.sandbox.daemon import AnswersAt, Daemon
from inference_fleet.sandbox.node import CONTROL_PLANE_ADDRESS, SERVICE_NETWORK
from inference_fleet.sandbox.state import Settings, StateFolder

API_PORT = 6443
API_SERVER = f"https://{CONTROL_PLANE_ADDRESS}:{API_PORT}"
# Leads to a proxy in front of the API server that may run outside (`api_proxy`), and where pods reach it.
PROXY_PORT = 6444
PROXY_INSIDE = f"https://{CONTROL_PLANE_ADDRESS}:{PROXY_PORT}"
PROXY_PAIR_NAME = "api-proxy"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"  # the first of SERVICE_NETWORK
_ETCD = "http://127.0.0.1:2379"
_ETCD_PEER = "http://127.0.0.1:2380"
_CONTROLLER_MANAGER_PORT = 10257
_SCHEDULER_PORT = 10259
# The default, 20, makes 500 pods take 25 s whatever asks for them; clusters of that size run with more.
_CONTROLLER_REQUESTS_PER_SECOND = 100

# All that the operator does; of everybody else everything but leases and events, which would drown the rest. Bodies are
# not kept.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:inference-fleet-system:inference-fleet"]
  - level: None
    resources:
      - {group: coordination.k8s.io, resources: [leases]}
      - {group: "", resources: [events]}
      - {group: events.k8s.io, resources: [events]}
  - level: Metadata
"""

Binaries = Mapping[str, Path]


@dataclass(frozen=True)
class Credentials:
    """Who is who in one sandbox."""

    authority: Authority
    api_server: KeyPair
    kubelet_client: KeyPair
    tokens: KeyPair
    admin: KeyPair
    controller_manager: Path
    scheduler: Path
    proxy: Path

    @property
    def admin_pair(self) -> tuple[Path, Path]:
        """The administrator's certificate and key files."""
        return (self.admin.certificate, self.admin.key)


def make_credentials(folder: StateFolder) -> Credentials:
    """Sign everything new and write the administrator's kubeconfig for the inside."""
    authority = certificates.make_authority(folder.pki)

    def config(name: str, user: str) -> Path:
        pair = authority.client(name, user=user)
        path = folder.pki / f"{name}.kubeconfig"
        return certificates.write_kubeconfig(path, server=API_SERVER, authority=authority.file, pair=pair)

    admin = authority.client("admin", user="sandbox-admin", groups=("system:masters",))
    certificates.write_kubeconfig(folder.inner_kubeconfig, server=API_SERVER, authority=authority.file, pair=admin)
    authority.server(PROXY_PAIR_NAME, addresses=("127.0.0.1", CONTROL_PLANE_ADDRESS), names=("localhost",))
    return Credentials(
        authority=authority,
        api_server=authority.server(
            "kube-apiserver",
            addresses=("127.0.0.1", CONTROL_PLANE_ADDRESS, KUBERNETES_SERVICE_ADDRESS),
            names=("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
        ),
        kubelet_client=authority.client("kubelet-client", user="kube-apiserver", groups=("system:masters",)),
        tokens=certificates.make_service_account_keys(folder.pki),
        admin=admin,
        controller_manager=config("kube-controller-manager", "system:kube-controller-manager"),
        scheduler=config("kube-scheduler", "system:kube-scheduler"),
        proxy=config("kube-proxy", "system:kube-proxy"),
    )


def node_kubeconfig(folder: StateFolder, *, credentials: Credentials, node: str) -> Path:
    """The kubeconfig of one node's kubelet: what Node authorization and NodeRestriction know it by."""
    pair = credentials.authority.client(node, user=f"system:node:{node}", groups=("system:nodes",))
    path = folder.pki / f"{node}.kubeconfig"
    return certificates.write_kubeconfig(path, server=API_SERVER, authority=credentials.authority.file, pair=pair)


def etcd(binaries: Binaries, *, folder: StateFolder) -> Daemon:
    """The store. Nothing here must survive a power cut, so it does not wait for the disk."""
    argv = (
        str(binaries["etcd"]),
        f"--data-dir={folder.path / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={_ETCD_PEER}",
        f"--initial-advertise-peer-urls={_ETCD_PEER}",
        f"--initial-cluster=default={_ETCD_PEER}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    return Daemon("etcd", argv, AnswersAt(f"{_ETCD}/health"))


def api_server(binaries: Binaries, *, folder: StateFolder, credentials: Credentials, settings: Settings) -> Daemon:
    """The API server, with the sandbox's own arguments before the user's, so that these win."""
    authority, tokens = credentials.authority, credentials.tokens
    argv = [
        str(binaries["kube-apiserver"]),
        f"--etcd-servers={_ETCD}",
        f"--secure-port={API_PORT}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={CONTROL_PLANE_ADDRESS}",
        f"--cert-dir={folder.pki / 'generated'}",
        f"--client-ca-file={authority.file}",
        f"--tls-cert-file={credentials.api_server.certificate}",
        f"--tls-private-key-file={credentials.api_server.key}",
        f"--kubelet-client-certificate={credentials.kubelet_client.certificate}",
        f"--kubelet-client-key={credentials.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={tokens.certificate}",
        f"--service-account-signing-key-file={tokens.key}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--profiling=false",
    ]
    if settings.audit:
        policy = folder.path / "audit-policy.yaml"
        argv += [f"--audit-policy-file={policy}", f"--audit-log-path={folder.logs / 'audit.log'}"]
        argv += ["--audit-log-mode=blocking-strict"]  # a test that reads the log sees every answered request
    argv += settings.apiserver_args
    ready = AnswersAt(f"{API_SERVER}/readyz", authority.file, credentials.admin_pair)
    return Daemon("kube-apiserver", tuple(argv), ready)


def controller_manager(binaries: Binaries, *, credentials: Credentials) -> Daemon:
    """The controllers of Kubernetes; nodes take their pods' addresses by their own index, so it gives none out."""
    config = credentials.controller_manager
    argv = (
        str(binaries["kube-controller-manager"]),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--service-account-private-key-file={credentials.tokens.key}",
        f"--root-ca-file={credentials.authority.file}",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
        f"--kube-api-qps={_CONTROLLER_REQUESTS_PER_SECOND}",
        f"--kube-api-burst={2 * _CONTROLLER_REQUESTS_PER_SECOND}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={_CONTROLLER_MANAGER_PORT}",
        *_serving(credentials),
    )
    return Daemon("kube-controller-manager", argv, _healthz(_CONTROLLER_MANAGER_PORT, credentials))


def scheduler(binaries: Binaries, *, credentials: Credentials) -> Daemon:
    """The scheduler, as it comes."""
    config = credentials.scheduler
    argv = (
        str(binaries["kube-scheduler"]),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={_SCHEDULER_PORT}",
        *_serving(credentials),
    )
    return Daemon("kube-scheduler", argv, _healthz(_SCHEDULER_PORT, credentials))


def _serving(credentials: Credentials) -> tuple[str, ...]:
    """One certificate serves all: it names 127.0.0.1."""
    pair = credentials.api_server
    return (f"--tls-cert-file={pair.certificate}", f"--tls-private-key-file={pair.key}")


def _healthz(port: int, credentials: Credentials) -> AnswersAt:
    return AnswersAt(f"https://127.0.0.1:{port}/healthz", credentials.authority.file, credentials.admin_pair)
