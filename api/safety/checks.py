"""System checks of this app's settings: see api/system/checks.py."""

import io
from collections.abc import Iterator
from datetime import date

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from PIL import Image

from api.errors import DarkroomError
from api.files.formats import FORMATS, encode
from api.safety.credentials.provenance import GENERATED, Provenance

SOON = 30
"""Days before a certificate's end in which its owner is reminded of it."""
CHAIN_HINT = (
    "It takes a certificate for signing (key usage digitalSignature; extended key usage emailProtection or documentSigning), followed by "
    "those that issued it; not one that is signed with its own key."
)


@register("darkroom", Tags.security)
def check_credentials(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    return list(credential_messages())


def credential_messages() -> Iterator[CheckMessage]:
    """Where both files are named, a small picture is signed with them and read back."""
    names = {"C2PA_CERTIFICATE": settings.C2PA_CERTIFICATE, "C2PA_PRIVATE_KEY": settings.C2PA_PRIVATE_KEY}
    missing = [name for name, value in names.items() if not value]
    if len(missing) == len(names):
        return
    if missing:
        [given] = names.keys() - missing
        yield Error(f"{given} is set, and {missing[0]} is not.", hint="Set both, or neither.", id="darkroom.E060")
        return
    from api.safety.credentials.signing import InvalidCredentials, load_credentials

    try:
        credentials = load_credentials(settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY)
    except InvalidCredentials as error:
        yield Error(str(error), hint="Both are files in PEM.", id="darkroom.E061")
        return
    days = (date.fromisoformat(credentials.ends) - date.today()).days
    if days < 0:
        hint = "Set it to a newer one: nothing can be signed with this."
        yield Error(f"C2PA_CERTIFICATE expired on {credentials.ends}.", hint=hint, id="darkroom.E062")
        return
    if days < SOON:
        hint = "After that no picture can be made while it is set."
        yield Warning(f"C2PA_CERTIFICATE expires on {credentials.ends}.", hint=hint, id="darkroom.W060")
    if fault := try_to_sign():
        yield Error(f"Nothing can be signed with C2PA_CERTIFICATE: {fault}", hint=CHAIN_HINT, id="darkroom.E063")


def try_to_sign() -> str:
    """What is wrong; '' where a signed picture can be read back. That the certificate's issuer is trusted is for readers to say."""
    import c2pa

    from api.safety.credentials.signing import load_credentials, sign

    row = FORMATS["png"]
    picture = encode(Image.new("RGB", (8, 8)), row)
    credentials = load_credentials(settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY)
    try:
        signed = sign(picture, row.content_type, Provenance(GENERATED), credentials)
        with c2pa.Reader(row.content_type, io.BytesIO(signed)) as reader:
            failures = (reader.get_validation_results() or {})["activeManifest"]["failure"]
    except DarkroomError as error:
        return str(error.__cause__)
    return ", ".join(one["explanation"] for one in failures if one["code"] != "signingCredential.untrusted")


@register("darkroom", Tags.models)
def check_picture_check(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    return list(picture_check_messages())


def picture_check_messages() -> Iterator[CheckMessage]:
    if not settings.PICTURE_CHECK_LABELS:
        hint = "Name the classes of PICTURE_CHECK_MODEL that are withheld, for example nsfw."
        yield Error("PICTURE_CHECK_LABELS is empty.", hint=hint, id="darkroom.E066")
    if settings.PICTURE_CHECK and not settings.LOAD_MODELS:
        hint = "Set LOAD_MODELS=true, or PICTURE_CHECK=false."
        yield Error("PICTURE_CHECK is on, and LOAD_MODELS is off: no picture could be checked.", hint=hint, id="darkroom.E067")
