"""What the file of an enlarged picture carries."""

from dataclasses import asdict
from uuid import UUID

from api.images.models import GeneratedImage
from api.images.upscaling.spec import UpscaleSpec
from api.json_types import JsonObject


def file_parameters(spec: UpscaleSpec, job_id: UUID) -> JsonObject:
    """Of a picture that was made here, its own too: with `upscale`, its request makes the enlarged one.

    One that was enlarged already is not made by a request with one `upscale`, so that its own are left out.
    """
    source = GeneratedImage.objects.filter(pk=UUID(spec.image)).first()
    is_request = source is not None and source.is_generated and not source.parameters.get("upscale")
    made_with: JsonObject = source.parameters if source is not None and is_request else {}
    use: JsonObject = {"model_id": spec.model_id, "scale": spec.scale}
    if spec.blend is not None:
        use["blend"] = asdict(spec.blend)
    return {**made_with, "upscale": use, "source_image": spec.image, "job": str(job_id)}
