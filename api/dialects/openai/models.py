"""OpenAI's list of models: those that chat, make pictures, and embed. `task` tells them apart."""

from functools import partial

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from api.catalog import TEXT_TO_IMAGE, ModelEntry, UnknownModel
from api.chat.backend_selection import TASKS, chat_models, remote_models
from api.dialects.openai import openapi
from api.dialects.openai.base import OpenAIView
from api.dialects.openai.embeddings import BUILT_IN as BUILT_IN_EMBEDDING
from api.dialects.openai.images.fields import BUILT_IN
from api.errors import DarkroomError
from api.json_types import JsonObject
from api.scoring.scorers import CLIP
from config.catalog import get_catalog

OTHER_TASKS = (TEXT_TO_IMAGE, CLIP)
"""Behind those of chats."""


class ModelsView(OpenAIView):
    """Chat models first: clients of chats take the first of the list."""

    @openapi.lists_models
    def get(self, request: Request) -> Response:
        chats = [*map(described, chat_models()), *map(partial(card, owner="remote"), remote_models())]
        others = [entry for task in OTHER_TASKS for entry in get_catalog().of_task(task)]
        return Response({"object": "list", "data": [*chats, *map(described, others)]})


class ModelView(OpenAIView):
    @openapi.shows_model
    def get(self, request: Request, model_id: str) -> Response:
        return Response(find_model(model_id))


def find_model(name: str) -> JsonObject:
    catalog = get_catalog()
    try:
        entry = catalog.get(name)
    except UnknownModel as error:
        if name in remote_models():
            return card(name, owner="remote")
        if meant := meant_by(name):  # clients ask whether there is what they will name
            return {**described(catalog.get(meant)), "id": name}
        hint = (
            f" Write it without the slash at the end: /v1/models/{name[:-1]}"
            if name.endswith("/") and is_known(name[:-1])
            else ""
        )
        raise DarkroomError("model_not_found", 404, f"{error}{hint}") from None
    if entry.task not in (*TASKS, *OTHER_TASKS):
        raise DarkroomError("model_not_found", 404, f"'{name}' neither chats, makes pictures nor embeds.")
    return described(entry)


def meant_by(name: str) -> str:
    """The default model that a name which clients have built in stands for; '' for other names."""
    if BUILT_IN.fullmatch(name):
        return settings.DEFAULT_IMAGE_MODEL
    return settings.DEFAULT_CLIP_MODEL if BUILT_IN_EMBEDDING.fullmatch(name) else ""


def is_known(name: str) -> bool:
    return get_catalog().find_model(name) is not None or name in remote_models() or bool(meant_by(name))


def described(entry: ModelEntry) -> JsonObject:
    return {**card(entry.id, owner=(entry.repo or "darkroom/").split("/")[0]), "task": entry.task, "licence": entry.licence}


def card(name: str, *, owner: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
