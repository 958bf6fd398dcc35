"""Pictures as the protocol's resources: `darkroom://images/ID`, which every picture field of the API takes, too."""

import base64

from django.http import Http404
from mcp_types import BlobResourceContents, Resource, ResourceTemplate

from api.access.principals import visible_to
from api.dialects.mcp.calls import Caller
from api.dialects.mcp.pictures import missing_picture
from api.errors import DarkroomError
from api.files.inputs import HERE, parse_id
from api.files.services import read_file, visible_file
from api.images.models import GeneratedImage

PAGE = 50
TEMPLATE = ResourceTemplate(
    name="picture", title="A picture by its id", uri_template=f"{HERE}{{id}}", description="The file as it is stored."
)


def newest(caller: Caller, cursor: str | None) -> tuple[list[Resource], str | None]:
    """The newest pictures, and where the next page begins: behind the id of this one's last. Raises DarkroomError."""
    images = visible_to(caller.principal, GeneratedImage.objects.select_related("file")).order_by("-pk")
    if cursor:
        if (after := parse_id(cursor)) is None:
            raise DarkroomError("invalid_cursor", 400, "This cursor is none of this list's.", field="cursor")
        images = images.filter(pk__lt=after)
    found = list(images[: PAGE + 1])
    return [describe(image) for image in found[:PAGE]], str(found[PAGE - 1].pk) if len(found) > PAGE else None


def describe(image: GeneratedImage) -> Resource:
    return Resource(
        uri=f"{HERE}{image.pk}",
        name=str(image.pk),
        title=image.prompt[:100] or image.get_origin_display(),
        mime_type=image.file.content_type,
        size=image.file.size,
    )


def read(caller: Caller, uri: str) -> BlobResourceContents:
    """Raises DarkroomError for what is not here, or another owner's."""
    identifier = parse_id(uri) if uri.startswith(HERE) else None
    if identifier is None:
        raise DarkroomError("not_found", 404, f"Resources here are called {HERE}ID, with the id of a picture.")
    try:
        file = visible_file(caller.principal, identifier)
    except Http404:
        raise missing_picture() from None
    return BlobResourceContents(uri=uri, mime_type=file.content_type, blob=base64.b64encode(read_file(file)).decode())
