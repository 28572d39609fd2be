"""The sandbox's certificate authority, what it signs, and the kubeconfig files that use it."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Longer than any sandbox lives; the past hour forgives a clock that was set back.
_VALID = datetime.timedelta(days=365)
_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate file and its key file."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates into one folder."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def file(self) -> Path:
        """The authority's certificate, for who must trust it."""
        return self.folder / "ca.crt"

    def server(self, name: str, *, addresses: Sequence[str], names: Sequence[str] = ()) -> KeyPair:
        """A serving certificate for IP addresses and DNS names."""
        places: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        places += [x509.DNSName(dns_name) for dns_name in names]
        alternative = x509.SubjectAlternativeName(places)
        return self._sign(name, user=name, groups=(), usage=ExtendedKeyUsageOID.SERVER_AUTH, alternative=alternative)

    def client(self, name: str, *, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: Kubernetes reads the user from the common name, groups from the organisations."""
        return self._sign(name, user=user, groups=groups, usage=ExtendedKeyUsageOID.CLIENT_AUTH, alternative=None)

    def _sign(
        self,
        name: str,
        *,
        user: str,
        groups: Sequence[str],
        usage: x509.ObjectIdentifier,
        alternative: x509.SubjectAlternativeName | None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_subject(user, groups), issuer=self.certificate.subject, key=key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        pair = KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        certificate = builder.sign(self.key, hashes.SHA256())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private(pair.key, _key_text(key))
        return pair


def make_authority(folder: Path) -> Authority:
    """A new authority that keeps its files in `folder`; its own key stays in memory."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("inference-fleet sandbox", ())
    certificate = (
        _builder(subject, issuer=subject, key=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_authority_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = Authority(folder, certificate, key)
    authority.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return authority


def make_service_account_keys(folder: Path) -> KeyPair:
    """The pair that signs and checks service accounts' tokens; `certificate` is the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = KeyPair(folder / "service-accounts.pub", folder / "service-accounts.key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair.certificate.write_bytes(public)
    write_private(pair.key, _key_text(key))
    return pair


def write_kubeconfig(path: Path, *, server: str, authority: Path, pair: KeyPair, cluster: str = "sandbox") -> Path:
    """A kubeconfig file that can be copied anywhere: certificates and key are in it."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [
            {
                "name": cluster,
                "user": {
                    "client-certificate-data": _base64(pair.certificate),
                    "client-key-data": _base64(pair.key),
                },
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }
    write_private(path, yaml.safe_dump(content).encode())
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def _builder(subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _SKEW,
        not_valid_after=now + _VALID,
    )


def _subject(user: str, groups: Sequence[str]) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _authority_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC 1, not PKCS 8: the controller manager reads only this form of an elliptic key for tokens.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
