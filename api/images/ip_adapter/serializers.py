"""What a request may say of image prompts."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.catalog import IP_ADAPTER, ModelEntry, UnknownModel, fits_model
from api.images.ip_adapter.use import ImagePromptUse
from api.images.steering_models import choose_models, named_model
from api.spec_serializers import SpecSerializer
from config.catalog import get_catalog


class ImagePromptSerializer(SpecSerializer):
    spec = ImagePromptUse


def choose_ip_adapters(uses: list[dict[str, Any]], entry: ModelEntry) -> None:
    """Sets the `model_id` of each. Raises ValidationError, which names the image prompt and its field."""
    choose_models("ip_adapter", IP_ADAPTER, uses, entry, choose_ip_adapter)


def choose_ip_adapter(use: dict[str, Any], entry: ModelEntry) -> ModelEntry:
    """One whose pictures can be read here."""
    adapter = named_model(use["model_id"], entry, IP_ADAPTER) if use.get("model_id") else usual(entry)
    if lack := why_unreadable(adapter):
        raise ValidationError(lack, code="no_image_encoder")
    return adapter


def usual(entry: ModelEntry) -> ModelEntry:
    """Made for this very model before others of its family; with what reads its pictures before those without; files before downloads."""
    found = [adapter for adapter in get_catalog().of_task(IP_ADAPTER) if fits_model(adapter, entry)]
    if not found:
        raise ValidationError(f"There is no IP-Adapter for {entry.name} here.", code="no_ip_adapter")
    return min(found, key=lambda adapter: (not adapter.base, bool(why_unreadable(adapter)), adapter.path is None))


def why_unreadable(adapter: ModelEntry) -> str:
    """ "" where its pictures can be read."""
    try:
        encoder = get_catalog().image_encoder_for(adapter)
    except UnknownModel as error:
        return f"'{adapter.id}' names an image encoder that is not here: {error}"
    if encoder is not None or not adapter.features:  # without features it is a folder, which has its own
        return ""
    wanted = " and ".join(adapter.features)
    return f"'{adapter.id}' needs an image encoder that makes {wanted}, and there is none here (a file of ComfyUI's clip_vision, say)."
