"""Rules for prompts, and requests that have one."""

from typing import Any

import pytest
from django.test import Client

from api.safety.models import PromptRule

DATABASE = pytest.mark.django_db(transaction=True)
ASYNC = {"Prefer": "respond-async"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "a kni"}, {"type": "text", "text": "fe"}]}
PATHS = ("/api/txt2img/", "/generate", "/v1/chat/completions")


def make_rule(**fields: Any) -> PromptRule:
    rule = PromptRule(**{"name": "weapons", "expression": "knife", **fields})
    rule.full_clean()
    rule.save()
    return rule


def post(client: Client, prompt: str, path: str = "/api/txt2img/", **headers: str) -> Any:
    return client.post(path, {"prompt": prompt}, content_type="application/json", headers={**ASYNC, **headers})
