from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from inference_fleet.sandbox import control_plane
from inference_fleet.sandbox.control_plane import Credentials
from inference_fleet.sandbox.daemon import AnswersAt
from inference_fleet.sandbox.state import Settings, StateFolder

BINARIES = {
    name: Path("/bin") / name for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def credentials(folder: StateFolder) -> Credentials:
    return control_plane.make_credentials(folder)


def _api_server(folder: StateFolder, credentials: Credentials, settings: Settings) -> list[str]:
    return list(control_plane.api_server(BINARIES, folder=folder, credentials=credentials, settings=settings).argv)


def test_nodes_are_held_to_their_own_objects(folder: StateFolder, credentials: Credentials) -> None:
    argv = _api_server(folder, credentials, Settings())
    assert "--authorization-mode=Node,RBAC" in argv
    assert "--enable-admission-plugins=NodeRestriction" in argv


def test_the_users_arguments_come_last_so_that_they_win(folder: StateFolder, credentials: Credentials) -> None:
    argv = _api_server(folder, credentials, Settings(apiserver_args=("--max-requests-inflight=7",), audit=True))
    assert argv[-1] == "--max-requests-inflight=7"


@pytest.mark.parametrize("audit", [True, False])
def test_the_audit_log_is_written_where_it_is_asked_for(
    folder: StateFolder, credentials: Credentials, audit: bool
) -> None:
    argv = _api_server(folder, credentials, Settings(audit=audit))
    assert (f"--audit-log-path={folder.logs}/audit.log" in argv) == audit


def test_the_audit_log_leaves_out_leases_and_events_of_everybody_but_the_operator() -> None:
    operator, noise, rest = yaml.safe_load(control_plane.AUDIT_POLICY)["rules"]
    account = "system:serviceaccount:inference-fleet-system:inference-fleet"
    assert operator == {"level": "Metadata", "users": [account]}
    quiet = [resource for group in noise["resources"] for resource in group["resources"]]
    assert noise["level"] == "None"
    assert set(quiet) == {"leases", "events"}
    assert rest == {"level": "Metadata"}


def test_every_program_has_a_readiness_of_its_own(folder: StateFolder, credentials: Credentials) -> None:
    daemons = (
        control_plane.etcd(BINARIES, folder=folder),
        control_plane.api_server(BINARIES, folder=folder, credentials=credentials, settings=Settings()),
        control_plane.controller_manager(BINARIES, credentials=credentials),
        control_plane.scheduler(BINARIES, credentials=credentials),
    )
    urls = {daemon.ready.url for daemon in daemons if isinstance(daemon.ready, AnswersAt)}
    assert len(urls) == len(daemons)
    assert [daemon.argv[0] for daemon in daemons] == [f"/bin/{daemon.name}" for daemon in daemons]


def test_a_node_is_who_node_authorization_expects(folder: StateFolder, credentials: Credentials) -> None:
    path = control_plane.node_kubeconfig(folder, credentials=credentials, node="node-3")
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    subject = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"])).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node-3"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_the_kubeconfig_inside_reaches_the_server_inside(folder: StateFolder, credentials: Credentials) -> None:
    content = yaml.safe_load(folder.inner_kubeconfig.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://10.244.0.1:6443"
