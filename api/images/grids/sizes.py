"""The sizes of the cells' pictures, as their requests say, and the steps and pixels of which they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from api.files.models import StoredFile
from api.images.edit_requests import grown_size
from api.images.hires import enlarged_size
from api.images.spec import AROUND_MASK, Img2ImgSpec, Txt2ImgSpec
from api.specs import as_json

Size = tuple[int, int]
"""Width and height."""


def result_sizes(cells: Sequence[Txt2ImgSpec]) -> list[Size]:
    ids = {UUID(cell.image) for cell in cells if isinstance(cell, Img2ImgSpec) and keeps_size(cell)}
    files = StoredFile.objects.in_bulk(ids) if ids else {}
    return [result_size(cell, files) for cell in cells]


def keeps_size(spec: Img2ImgSpec) -> bool:
    """Whether the result has the size of the picture that was sent, grown by `outpaint`."""
    return spec.grows or (spec.mask is not None and spec.inpaint_area == AROUND_MASK)


def result_size(spec: Txt2ImgSpec, files: Mapping[UUID, StoredFile]) -> Size:
    """Of its second pass, if it has one; of a file that was deleted, as if it had the size that is worked in."""
    *_, (size, _) = passes_of(spec)
    if isinstance(spec, Img2ImgSpec) and keeps_size(spec) and (file := files.get(UUID(spec.image))):
        size = grown_size(file, as_json(spec.outpaint))
    scale = spec.upscale.scale if spec.upscale else 1
    return size[0] * scale, size[1] * scale


def passes_of(spec: Txt2ImgSpec) -> Iterator[tuple[Size, int]]:
    """The size that each works in, and its steps."""
    size = spec.width, spec.height
    yield size, spec.steps_run if isinstance(spec, Img2ImgSpec) else spec.steps
    if spec.hires:
        yield enlarged_size(*size, spec.hires.scale), int((spec.hires.steps or spec.steps) * spec.hires.strength)


def steps_of(spec: Txt2ImgSpec) -> int:
    return sum(steps for _, steps in passes_of(spec)) * len(spec.seeds)


def work_of(spec: Txt2ImgSpec) -> int:
    """Steps times pixels; one step at least, for what is done beside them."""
    work = sum(steps * width * height for (width, height), steps in passes_of(spec)) * len(spec.seeds)
    return max(spec.width * spec.height, work)
