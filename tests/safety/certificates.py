"""A certificate authority of the tests' own, and what it issues for Content Credentials."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Issued:
    """The files of C2PA_CERTIFICATE and C2PA_PRIVATE_KEY, and the root that vouches for them."""

    certificate: Path
    private_key: Path
    root: str


def issue(folder: Path, key: PrivateKey | None = None, *, ends: timedelta = YEAR, name: str = "Example Studio") -> Issued:
    """A root, and below it a certificate for signing with `key`; it ends `ends` from now."""
    key, root_key = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    root = build("Test root", "Test root", root_key.public_key(), root_key, now - 2 * YEAR, now + YEAR, is_authority=True)
    leaf = build(name, "Test root", key.public_key(), root_key, now - 2 * YEAR, now + ends, is_authority=False)
    certificate, private_key = folder / "certificate.pem", folder / "private_key.pem"
    certificate.write_bytes(pem(leaf) + pem(root))
    private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Issued(certificate, private_key, pem(root).decode())


def build(
    subject: str,
    issuer: str,
    public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    ends: datetime,
    *,
    is_authority: bool,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(name_of(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(key_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def name_of(common_name: str) -> x509.Name:
    parts = {NameOID.ORGANIZATION_NAME: "Darkroom's tests", NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])


def key_usage(is_authority: bool) -> x509.KeyUsage:
    others = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
        **others,
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
