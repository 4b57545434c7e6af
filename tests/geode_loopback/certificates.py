"""Certificates made at start: an authority, the server's own and one for a client."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(directory: Path, names: Sequence[str]) -> Certificates:
    """Write an authority and two certificates; the server's is for these names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Geode loopback authority", key, None, None, ca=True)
    made = Certificates(*(directory / f"{name}.pem" for name in _FILES))
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    for subject, path, key_path, alternative in (
        ("localhost", made.server, made.server_key, alternatives),
        ("client", made.client, made.client_key, None),
    ):
        own = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(subject, own, (ca, key), alternative, ca=False)
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(_pem(own))
        key_path.chmod(0o600)
    return made


_FILES = ("ca", "server", "server-key", "client", "client-key")


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    alternatives: x509.SubjectAlternativeName | None,
    *,
    ca: bool,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer[0].subject if signer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    if alternatives:
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(signer[1] if signer else key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
