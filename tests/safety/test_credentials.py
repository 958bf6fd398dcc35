"""Content Credentials are in every file that is made here, and the C2PA project's own reader finds them valid."""

import io
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.test import Client
from PIL import Image

from api.files.formats import FORMATS, encode
from api.files.models import StoredFile
from api.files.services import read_file
from api.images.png_info.texts import read_texts
from api.jobs.models import Job
from api.safety.checks import credential_messages
from api.safety.credentials.provenance import (
    ANNOTATED,
    COMPOSED,
    CUT_OUT,
    EDITED,
    ENHANCED,
    FILTERED,
    GENERATED,
    INPUT,
    PARENT,
    Ingredient,
    Process,
    Provenance,
)
from api.safety.credentials.signing import load_credentials, sign
from api.safety.output import write_picture
from tests.safety.certificates import YEAR, Issued, PrivateKey, build, issue, pem

pytestmark = pytest.mark.models
DATABASE = pytest.mark.django_db(transaction=True)
Run = Callable[..., Job]
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
KEYS: dict[str, Callable[[], PrivateKey]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture
def issued(tmp_path: Path, settings: Any) -> Issued:
    issued = issue(tmp_path)
    settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY = issued.certificate, issued.private_key
    return issued


def picture(size: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8))


def read_manifest(data: bytes, content_type: str, root: str) -> dict[str, Any]:
    """The signed manifest; nothing in it fails, and its signer is trusted by the root."""
    context = c2pa.Context.from_dict({"trust": {"user_anchors": root}, "verify": {"verify_trust": True}})
    with c2pa.Reader(content_type, io.BytesIO(data), context=context) as reader:
        assert reader.get_validation_state() == "Trusted", reader.get_validation_results()
        found = json.loads(reader.json())
    manifest: dict[str, Any] = found["manifests"][found["active_manifest"]]
    return manifest


def actions_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    [actions] = [one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions")]
    return list(actions)


def file_of(image: dict[str, Any]) -> StoredFile:
    return StoredFile.objects.get(pk=image["id"])


# ---------------------------------------------------------------- one file


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_signed_file_has_the_same_pixels_and_a_manifest_that_is_valid(name: str, algorithm: str, tmp_path: Path) -> None:
    issued, row = issue(tmp_path, KEYS[algorithm]()), FORMATS[name]
    credentials = load_credentials(issued.certificate, issued.private_key)
    plain = encode(picture(), row)
    signed = sign(plain, row.content_type, Provenance(GENERATED, "tiny"), credentials)
    manifest = read_manifest(signed, row.content_type, issued.root)
    assert credentials.algorithm == manifest["signature_info"]["alg"].lower() == algorithm
    [created] = actions_of(manifest)
    assert (created["action"], created["digitalSourceType"]) == ("c2pa.created", f"{SOURCE_TYPES}trainedAlgorithmicMedia")
    assert (created["softwareAgent"]["name"], created["description"]) == ("Darkroom", "Model: tiny")
    before, after = (np.asarray(Image.open(io.BytesIO(data))) for data in (plain, signed))
    assert (before == after).all()


@pytest.mark.parametrize("process", [GENERATED, COMPOSED, EDITED, ENHANCED, CUT_OUT, FILTERED, ANNOTATED])
def test_each_way_of_making_a_picture_is_valid_with_its_ingredients(process: Process, issued: Issued) -> None:
    credentials = load_credentials(issued.certificate, issued.private_key)
    source = encode(picture(), FORMATS["jpeg"])
    relations = (PARENT, INPUT) if process.changes_a_picture else (INPUT,)
    ingredients = tuple(Ingredient(relation, "image/jpeg", relation) for relation in relations)
    provenance = Provenance(process, "tiny", ingredients)
    signed = sign(encode(picture(), FORMATS["png"]), "image/png", provenance, credentials, [source] * len(relations))
    manifest = read_manifest(signed, "image/png", issued.root)
    assert [one["relationship"] for one in manifest["ingredients"]] == list(relations)
    *opened, made = actions_of(manifest)
    assert [one["action"] for one in opened] == ["c2pa.opened"] * process.changes_a_picture
    assert (made["action"], made["digitalSourceType"]) == (process.action, SOURCE_TYPES + process.source_type)


def test_no_address_in_an_ingredient_is_asked(issued: Issued) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
            f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="http://127.0.0.1:{listener.getsockname()[1]}/a.c2pa"/></rdf:RDF></x:xmpmeta>'
        )
        source = io.BytesIO()
        picture().save(source, "JPEG", xmp=xmp.encode())
        listener.settimeout(30)
        answering = threading.Thread(target=refuse_one, args=(listener, asked := []), daemon=True)
        answering.start()
        provenance = Provenance(EDITED, "tiny", (Ingredient("a", "image/jpeg", PARENT),))
        credentials = load_credentials(issued.certificate, issued.private_key)
        sign(encode(picture(), FORMATS["png"]), "image/png", provenance, credentials, [source.getvalue()])
        assert not asked


def refuse_one(listener: socket.socket, asked: list[bytes]) -> None:
    with suppress(OSError), listener.accept()[0] as connection:
        asked.append(connection.recv(100))


def test_a_file_that_was_changed_after_it_was_signed_is_not_valid(issued: Issued) -> None:
    credentials = load_credentials(issued.certificate, issued.private_key)
    signed = sign(encode(picture(), FORMATS["png"]), "image/png", Provenance(GENERATED), credentials)
    changed = bytearray(signed)
    changed[-40] ^= 1
    with c2pa.Reader("image/png", io.BytesIO(bytes(changed))) as reader:
        assert reader.get_validation_state() == "Invalid"


def test_without_a_certificate_a_file_is_what_it_was(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    data = encode(picture(), FORMATS["png"])
    written = write_picture(data, picture(), "png", None)
    assert (tmp_path / written.name).read_bytes() == data
    assert written.credentials_field == {}


# ---------------------------------------------------------------- jobs


@DATABASE
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_picture_from_a_prompt_says_that_a_model_made_it(
    run: Run, issued: Issued, output_format: str, client: Client
) -> None:
    job = run(prompt="a red lake", seed=3, output_format=output_format)
    [image] = job.result["images"]  # type: ignore[index]
    assert image["content_credentials"] == {"signed_by": "Example Studio", "digital_source_type": "trainedAlgorithmicMedia"}
    file = file_of(image)
    data = read_file(file)
    [created] = actions_of(read_manifest(data, file.content_type, issued.root))
    assert created["description"] == "Model: tiny"
    texts = read_texts(data)  # as without credentials
    assert json.loads(texts["darkroom"])["seed"] == 3
    assert texts["parameters"].startswith("a red lake")
    shown = client.post("/api/png-info/", {"image": str(file.pk)}, content_type="application/json").json()
    assert (shown["source"], shown["request"]["prompt"]) == ("darkroom", "a red lake")
    assert (
        client.get(f"/api/jobs/{job.pk}/").json()["result"]["images"][0]["content_credentials"] == image["content_credentials"]
    )
    assert len(data) == file.size == len(client.get(f"/api/images/{file.pk}/file/").getvalue())


@DATABASE
def test_edits_name_the_picture_that_they_change_and_what_it_says_of_itself(run: Run, issued: Issued) -> None:
    first = run(prompt="a lake").result["images"][0]["id"]  # type: ignore[index]
    with_mask = run("/api/img2img/", prompt="a hill", image=first, mask=first, strength=0.9)
    upscaled = run("/api/upscale/", image=first, model_id="lanczos")
    preprocessed = run("/api/preprocess/", image=first, kind="canny")
    source_label = read_manifest(read_file(StoredFile.objects.get(pk=first)), "image/png", issued.root)["label"]
    seen = {}
    for job in (with_mask, upscaled, preprocessed):
        [image] = job.result["images"]  # type: ignore[index]
        manifest = read_manifest(read_file(file_of(image)), "image/png", issued.root)
        opened, made = actions_of(manifest)
        parents = [one for one in manifest["ingredients"] if one["relationship"] == "parentOf"]
        assert [one["active_manifest"] for one in parents] == [source_label]
        assert opened["action"] == "c2pa.opened"
        assert image["content_credentials"]["digital_source_type"] == made["digitalSourceType"].removeprefix(SOURCE_TYPES)
        seen[job.kind] = made["action"], image["content_credentials"]["digital_source_type"]
    assert seen == {
        "img2img": ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia"),
        "upscale": ("c2pa.enhanced", "algorithmicallyEnhanced"),
        "preprocess": ("c2pa.filtered", "algorithmicMedia"),
    }


@DATABASE
def test_a_grid_and_its_cells_are_signed(run: Run, issued: Issued) -> None:
    axes = [{"field": "seed", "values": [1, 2]}]
    job = run("/api/grids/", request={"prompt": "a lake", "output_format": "webp"}, axes=axes)
    images = [*job.result["images"], *(cell["image"] for cell in job.result["cells"])]  # type: ignore[index]
    types = [actions_of(read_manifest(read_file(f := file_of(image)), f.content_type, issued.root))[0] for image in images]
    assert [one["digitalSourceType"].removeprefix(SOURCE_TYPES) for one in types] == [
        "compositeSynthetic",
        "trainedAlgorithmicMedia",
        "trainedAlgorithmicMedia",
    ]


@DATABASE
def test_a_picture_that_can_not_be_signed_is_not_kept(run: Run, tmp_path: Path, settings: Any) -> None:
    expired = issue(tmp_path, ends=-timedelta(days=1))
    settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY = expired.certificate, expired.private_key
    job = run(prompt="a lake", num_images=2)
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "credentials_failed", 503)  # type: ignore[index]
    assert list(Path(settings.MEDIA_ROOT).rglob("*.*")) == []


@DATABASE
def test_without_a_certificate_a_job_says_nothing_of_credentials(run: Run) -> None:
    [image] = run(prompt="a lake").result["images"]  # type: ignore[index]
    assert "content_credentials" not in image
    with pytest.raises(c2pa.C2paError):
        c2pa.Reader("image/png", io.BytesIO(read_file(file_of(image))))


# ---------------------------------------------------------------- settings


def messages() -> list[tuple[str, str]]:
    return [(str(message.id), message.msg) for message in credential_messages()]


def test_a_certificate_that_signs_passes_the_check(issued: Issued) -> None:
    assert messages() == []


def test_no_setting_at_all_passes_the_check() -> None:
    assert messages() == []


def test_one_setting_without_the_other_stops_the_start(issued: Issued, settings: Any) -> None:
    settings.C2PA_PRIVATE_KEY = None
    assert messages() == [("darkroom.E060", "C2PA_CERTIFICATE is set, and C2PA_PRIVATE_KEY is not.")]


@pytest.mark.parametrize("file", ["certificate", "private_key"])
@pytest.mark.parametrize("content", [None, b"", b"not PEM", b"\xff\xfe"])
def test_a_file_that_is_none_stops_the_start_and_is_named(issued: Issued, file: str, content: bytes | None) -> None:
    path = getattr(issued, file)
    path.unlink() if content is None else path.write_bytes(content)
    [(identifier, message)] = messages()
    assert identifier == "darkroom.E061"
    assert message.startswith(f"C2PA_{file.upper()} ({path})")


def test_a_key_of_another_certificate_stops_the_start(issued: Issued, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    settings.C2PA_PRIVATE_KEY = issue(tmp_path / "other").private_key
    assert messages() == [("darkroom.E061", "C2PA_PRIVATE_KEY is not the key of the first certificate in C2PA_CERTIFICATE.")]


def test_a_certificate_that_has_expired_or_soon_will_is_told(tmp_path: Path, settings: Any) -> None:
    for name, ends, identifier in (("old", -timedelta(days=2), "darkroom.E062"), ("soon", timedelta(days=9), "darkroom.W060")):
        (tmp_path / name).mkdir()
        issued = issue(tmp_path / name, ends=ends)
        settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY = issued.certificate, issued.private_key
        assert [found for found, _ in messages()] == [identifier]


def test_an_authority_s_own_certificate_signs_no_pictures(issued: Issued) -> None:
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = load_pem_private_key(issued.private_key.read_bytes(), None)
    now = datetime.now(UTC)
    root = build("Studio", "Studio", key.public_key(), key, now - YEAR, now + YEAR, is_authority=True)
    issued.certificate.write_bytes(pem(root))
    [(identifier, message)] = messages()
    assert identifier == "darkroom.E063"
    assert "self-signed" in message
