"""Signing pictures' files with the owner's certificate, by the C2PA project's own library.

The library (23 MB) is imported where there is a certificate, and not before.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from api.errors import DarkroomError
from api.json_types import JsonObject
from api.safety.credentials.provenance import Provenance, place_name

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

log = logging.getLogger("darkroom.safety")
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
"""The library's own: a small picture in each manifest would take more time than all the rest. What is signed with a certificate is read
back when the server starts (checks.py). No address that an ingredient's file names is asked: files/fetching.py alone opens connections."""


class InvalidCredentials(ValueError):
    """A certificate or a private key that nothing can be signed with. The message names which, for the owner."""


@dataclass(frozen=True)
class Credentials:
    """What pictures are signed with."""

    chain: bytes
    private_key: bytes
    algorithm: str
    """C2PA's name."""
    name: str
    """Of the certificate's owner."""
    ends: str
    """The day on which the certificate expires, ISO 8601."""

    def describe(self, provenance: Provenance) -> JsonObject:
        """For a job's result."""
        return {"signed_by": self.name, "digital_source_type": provenance.process.source_type}


@cache
def load_credentials(certificate: Path, private_key: Path) -> Credentials:
    """PEM files: the certificate and those that vouch for it, the owner's first; and its key. Raises InvalidCredentials."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    chain, key_text = read_pem("C2PA_CERTIFICATE", certificate), read_pem("C2PA_PRIVATE_KEY", private_key)
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise InvalidCredentials(f"C2PA_CERTIFICATE ({certificate}) holds no certificate in PEM.") from None
    try:
        key = load_pem_private_key(key_text, None)
    except TypeError:
        raise InvalidCredentials(f"C2PA_PRIVATE_KEY ({private_key}) is locked with a password: unlock it.") from None
    except ValueError:
        raise InvalidCredentials(f"C2PA_PRIVATE_KEY ({private_key}) holds no private key in PEM.") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != first.public_key().public_bytes(*form):
        raise InvalidCredentials("C2PA_PRIVATE_KEY is not the key of the first certificate in C2PA_CERTIFICATE.")
    return Credentials(chain, key_text, algorithm_of(key), owner_of(first), first.not_valid_after_utc.date().isoformat())


def read_pem(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidCredentials(f"{setting} ({path}) can't be read: {(error.strerror or '').lower()}.") from None


def algorithm_of(key: PrivateKeyTypes) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise InvalidCredentials(
        "C2PA_PRIVATE_KEY is of a kind that C2PA doesn't know: it takes ECDSA (P-256, P-384, P-521), RSA, Ed25519."
    )


def owner_of(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = [
        attribute.value
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        for attribute in certificate.subject.get_attributes_for_oid(oid)
    ]
    return str(names[0]) if names else ""


def sign(
    data: bytes, content_type: str, provenance: Provenance, credentials: Credentials, contents: Sequence[bytes] = ()
) -> bytes:
    """The file with its manifest; `contents` are the files of the ingredients, in order. For any thread. Raises DarkroomError (503)."""
    import c2pa

    signed = io.BytesIO()
    # One of each for every file: the library's objects refuse a second thread.
    info = c2pa.C2paSignerInfo(credentials.algorithm, credentials.chain, credentials.private_key, None)
    try:
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Builder(provenance.manifest(), context) as builder,
        ):
            for place, (ingredient, content) in enumerate(zip(provenance.ingredients, contents, strict=True)):
                described = {"label": place_name(place), "relationship": ingredient.relation}
                builder.add_ingredient(described, ingredient.content_type, io.BytesIO(content))
            builder.sign(signer, content_type, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        log.error("Content Credentials could not be signed: %s", error)
        detail = "The picture's Content Credentials could not be signed, so that it was not kept; the server's log says why."
        raise DarkroomError("credentials_failed", 503, detail) from error
    return signed.getvalue()
