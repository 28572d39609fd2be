from __future__ import annotations

import base64
import ssl
import stat
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from inference_fleet.sandbox import certificates
from inference_fleet.sandbox.certificates import Authority, KeyPair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return certificates.make_authority(tmp_path / "pki")


def _handshake(authority: Authority, *, server: KeyPair, client: KeyPair, name: str) -> dict[str, object]:
    """What the server sees of the client after a TLS handshake in memory."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(authority.file))
    calling.load_cert_chain(client.certificate, client.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = serving.wrap_bio(to_server, to_client, server_side=True)
    client_end = calling.wrap_bio(to_client, to_server, server_hostname=name)
    for end in (client_end, server_end) * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return dict(server_end.getpeercert() or {})


def test_server_and_client_trust_each_other_through_the_authority(authority: Authority) -> None:
    server = authority.server("apiserver", addresses=("127.0.0.1",), names=("kubernetes",))
    client = authority.client("admin", user="someone", groups=("system:masters",))
    for name in ("127.0.0.1", "kubernetes"):
        seen = _handshake(authority, server=server, client=client, name=name)
        assert (("commonName", "someone"),) in seen["subject"]
        assert (("organizationName", "system:masters"),) in seen["subject"]


def test_a_server_is_trusted_only_under_its_own_addresses(authority: Authority) -> None:
    server = authority.server("apiserver", addresses=("127.0.0.1",))
    client = authority.client("admin", user="someone")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(authority, server=server, client=client, name="10.0.0.1")


def test_a_client_certificate_does_not_serve(authority: Authority) -> None:
    client = authority.client("admin", user="someone")
    with pytest.raises(ssl.SSLError):
        _handshake(authority, server=client, client=client, name="127.0.0.1")


def test_keys_are_read_by_their_owner_only(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("admin", user="someone")
    tokens = certificates.make_service_account_keys(authority.folder)
    config = certificates.write_kubeconfig(
        tmp_path / "kubeconfig", server="https://127.0.0.1:1", authority=authority.file, pair=pair
    )
    for path in (pair.key, tokens.key, config):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_kubeconfig_holds_all_it_needs(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("admin", user="someone")
    path = certificates.write_kubeconfig(
        tmp_path / "kubeconfig", server="https://127.0.0.1:7", authority=authority.file, pair=pair, cluster="one"
    )
    content = yaml.safe_load(path.read_text())
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7"
    assert base64.b64decode(content["users"][0]["user"]["client-key-data"]) == pair.key.read_bytes()
    assert content["current-context"] == "one"
    assert str(tmp_path) not in path.read_text()  # no path: it works wherever it is copied


def test_token_keys_are_a_pair_in_the_forms_the_control_plane_reads(authority: Authority) -> None:
    pair = certificates.make_service_account_keys(authority.folder)
    assert pair.key.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    private = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    assert private.public_key() == serialization.load_pem_public_key(pair.certificate.read_bytes())
