"""The receiver's keys: the one that signs receipts, and its own certificate authority for boxes.

They are made once, as a folder that appears whole or not at all, so that a CLI call and a starting server can
race for it. Losing the folder means enrolling every box anew; back it up with the database.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sync.chain import SignerKey

RECEIPT_KEY_NAME = "alumiguard-receiver"
BOX_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""Names of boxes, safe in paths, certificates and notes."""

_CA_LIFETIME = timedelta(days=20 * 365)
_BOX_LIFETIME = timedelta(days=365)
_BACKDATE = timedelta(minutes=5)


class CsrError(ValueError):
    """A certificate request that will not be signed. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The receiver's keys. `ca_certificate` is what a relay needs to check a box's certificate."""

    receipt_key: SignerKey
    ca_key: Ed25519PrivateKey
    ca_certificate: x509.Certificate

    @property
    def ca_pem(self) -> str:
        """The CA certificate as PEM."""
        return self.ca_certificate.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True, slots=True)
class BoxCertificate:
    """A certificate made for a box, and until when it is valid."""

    pem: str
    not_after: datetime


def is_site_name(text: str) -> bool:
    """Whether the text can name a site: 1 to 64 printable characters, what X.509 allows for a unit's name."""
    return text.isprintable() and 1 <= len(text) <= 64


def open_identity(folder: Path, now: datetime) -> Identity:
    """Read the keys, or make them if the folder is not there."""
    if not folder.exists():
        _make_identity(folder, now)
    receipt_key = _read_key(folder / "receipt.key")
    ca_certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    return Identity(SignerKey(RECEIPT_KEY_NAME, receipt_key), _read_key(folder / "ca.key"), ca_certificate)


def read_csr(pem: str, box: str) -> Ed25519PublicKey:
    """The key in a box's certificate request.

    Raises:
        CsrError: if it is no request, is not signed by its own key, or is for another name or kind of key.
    """
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        names = [str(name.value) for name in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        key, signed = csr.public_key(), csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CsrError(f"csr_pem is not a certificate request that can be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CsrError("csr_pem holds a key that is not Ed25519; make it anew with `alumiguard enrol`")
    if not signed:
        raise CsrError("csr_pem is not signed by its own key; make it anew with `alumiguard enrol`")
    if names != [box]:
        raise CsrError(f"csr_pem is for {names}, not for {box!r}; its common name must be the box")
    return key


def sign_box(identity: Identity, key: Ed25519PublicKey, box: str, site: str, now: datetime) -> BoxCertificate:
    """Make the box's certificate: valid one year, for TLS clients, known by its URI, not by its subject."""
    not_after = (now + _BOX_LIFETIME).replace(microsecond=0)
    issuer_key = identity.ca_key.public_key()
    uri = x509.UniformResourceIdentifier(f"urn:alumiguard:box:{box}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(box, site))
        .issuer_name(identity.ca_certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .sign(identity.ca_key, None)
    )
    return BoxCertificate(certificate.public_bytes(Encoding.PEM).decode(), not_after)


def _make_identity(folder: Path, now: datetime) -> None:
    making = Path(tempfile.mkdtemp(prefix="identity.", dir=folder.parent))
    ca_key = Ed25519PrivateKey.generate()
    for name, content in (
        ("receipt.key", _key_pem(Ed25519PrivateKey.generate())),
        ("ca.key", _key_pem(ca_key)),
        ("ca.crt", _ca_certificate(ca_key, now).public_bytes(Encoding.PEM)),
    ):
        _write_durably(making / name, content)
    _sync_folder(making)
    try:
        making.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(making)  # another process was first; its keys count
    _sync_folder(folder.parent)


def _ca_certificate(key: Ed25519PrivateKey, now: datetime) -> x509.Certificate:
    name = _name("AlumiGuard receiver CA", "receiver")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )


def _name(common_name: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "AlumiGuard"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} is not an Ed25519 key; restore the identity folder from a backup")
    return key


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
