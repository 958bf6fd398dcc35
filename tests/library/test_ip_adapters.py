"""IP-Adapters, and what reads their pictures, among the files of the library."""

from pathlib import Path

import pytest

from api.catalog import UnknownModel
from api.library.models import Kind, LibraryFile
from api.library.scan import scan_library
from config.catalog import get_catalog
from tests.library.files import row_of, write_bytes, write_checkpoint, write_file
from tests.model_files.files import Shape

BASE: dict[str, Shape] = {"image_proj.proj.weight": (3072, 1024), "image_proj.norm.weight": (768,)}
PLUS: dict[str, Shape] = {"image_proj.latents": (1, 16, 768), "image_proj.proj_in.weight": (768, 1280)}
FULL: dict[str, Shape] = {"image_proj.proj.0.weight": (1280, 1280), "image_proj.proj.3.weight": (768,)}
FACE: dict[str, Shape] = {"image_proj.proj.0.weight": (1024, 512), "image_proj.norm.weight": (768,)}
FACE_PLUS: dict[str, Shape] = {
    "image_proj.proj.0.weight": (1024, 512),
    "image_proj.perceiver_resampler.proj_in.weight": (768, 1280),
}


def adapter(projection: dict[str, Shape], width: int = 768) -> dict[str, Shape]:
    return {**projection, "ip_adapter.1.to_k_ip.weight": (320, width), "ip_adapter.1.to_v_ip.weight": (320, width)}


def encoder(states: int = 1280, embeds: int = 1024) -> dict[str, Shape]:
    return {
        "vision_model.embeddings.class_embedding": (states,),
        "vision_model.embeddings.patch_embedding.weight": (states, 3, 14, 14),
        "visual_projection.weight": (embeds, states),
    }


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl")])
@pytest.mark.parametrize(("projection", "feature"), [(BASE, "embeds-1024"), (PLUS, "states-1280"), (FULL, "states-1280")])
def test_its_header_tells_its_family_and_what_it_reads(
    library: Path, projection: dict[str, Shape], feature: str, width: int, family: str
) -> None:
    write_file(library / "mine.safetensors", adapter(projection, width))
    scan_library()
    row, entry = row_of("mine.safetensors"), get_catalog().get("mine")
    assert (row.kind, row.family, row.reason) == (Kind.IP_ADAPTER, family, "")
    assert (entry.task, entry.family, entry.features, entry.single_file) == ("ip-adapter", family, (feature,), True)


def test_what_reads_its_pictures_is_found_by_what_it_makes(library: Path) -> None:
    write_file(library / "ipadapter" / "ip-adapter_sd15.safetensors", adapter(BASE))
    write_file(library / "ipadapter" / "ip-adapter-plus_sd15.safetensors", adapter(PLUS))
    write_file(library / "clip_vision" / "large.safetensors", encoder(1024, 768))
    scan_library()
    catalog = get_catalog()
    plain, plus = catalog.get("ip-adapter_sd15"), catalog.get("ip-adapter-plus_sd15")
    for one in (plain, plus):  # what the catalog can download
        encoder_entry = catalog.image_encoder_for(one)
        assert encoder_entry
        assert (encoder_entry.id, encoder_entry.path) == ("clip-vit-h-image-encoder", None)
    write_file(library / "clip_vision" / "huge.safetensors", encoder())
    scan_library()
    found = [catalog.image_encoder_for(one) for one in (plain, plus)]
    assert [entry and (entry.id, entry.task, entry.features) for entry in found] == [
        ("huge", "image-encoder", ("embeds-1024", "states-1280"))
    ] * 2


def test_none_is_found_for_what_nothing_makes(library: Path) -> None:
    write_file(library / "mine.safetensors", adapter({"image_proj.proj.weight": (3072, 1280)}))
    write_file(library / "huge.safetensors", encoder())
    scan_library()
    assert get_catalog().image_encoder_for(get_catalog().get("mine")) is None


def test_as_published_the_encoder_lies_in_a_folder_of_its_own(library: Path) -> None:
    write_file(library / "models" / "ip-adapter_sd15.safetensors", adapter(BASE))
    write_file(library / "models" / "image_encoder" / "model.safetensors", encoder())
    write_bytes(library / "models" / "image_encoder" / "config.json", b'{"model_type": "clip_vision_model"}')
    scan_library()
    found = get_catalog().image_encoder_for(get_catalog().get("ip-adapter_sd15"))
    assert found
    assert found.path == library / "models" / "image_encoder" / "model.safetensors"


@pytest.mark.parametrize("projection", [FACE, FACE_PLUS])
def test_one_that_needs_a_network_for_faces_says_so(library: Path, projection: dict[str, Shape]) -> None:
    write_file(library / "face.safetensors", adapter(projection))
    scan_library()
    assert (row_of("face.safetensors").kind, "FaceID" in row_of("face.safetensors").reason) == (Kind.IP_ADAPTER, True)
    with pytest.raises(UnknownModel, match="recognises faces"):
        get_catalog().get("face")


def test_one_of_a_width_that_no_family_has_says_so(library: Path) -> None:
    write_file(library / "odd.safetensors", adapter(BASE, 100))
    scan_library()
    assert "which family" in row_of("odd.safetensors").reason


def test_neither_is_taken_for_a_checkpoint(library: Path) -> None:
    write_file(library / "photo" / "same.safetensors", adapter(BASE))
    write_file(library / "reader.safetensors", encoder())
    write_checkpoint(library / "photos" / "same.safetensors")
    scan_library()
    assert get_catalog().get("same.safetensors").task == "text-to-image"
    assert {row.kind for row in LibraryFile.objects.all()} == {Kind.IP_ADAPTER, Kind.IMAGE_ENCODER, Kind.CHECKPOINT}
