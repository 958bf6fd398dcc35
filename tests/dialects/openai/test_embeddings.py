"""OpenAI's SDK, unchanged, asks for embeddings: in its two forms, of texts and pictures, and of more numbers than there are."""

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from tests.dialects.openai.conftest import OpenAIServer, blue

pytestmark = pytest.mark.models
URL = f"data:image/png;base64,{base64.b64encode(blue()).decode()}"


@pytest.fixture
def sdk(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0, timeout=60) as sdk:
        yield sdk


def test_texts_and_pictures_have_vectors_whose_products_are_clip_scores(server: OpenAIServer, sdk: openai.OpenAI) -> None:
    asked = ["a blue square", URL, "a pizza"]
    reply = sdk.embeddings.create(model="text-embedding-3-large", input=asked)  # the SDK asks for base64
    found = np.array([one.embedding for one in reply.data])
    assert ([one.index for one in reply.data], reply.model, reply.object) == ([0, 1, 2], "starter-clip", "list")
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    floats = sdk.embeddings.create(model="starter-clip", input=asked, encoding_format="float")
    np.testing.assert_allclose([one.embedding for one in floats.data], found, atol=1e-9)
    body = {"images": [URL], "prompts": asked[::2]}
    [scores] = server.live.client.post("/api/clip-score/", json=body, headers={"Authorization": f"Bearer {server.key}"}).json()[
        "result"
    ]["scores"]
    np.testing.assert_allclose(found[[0, 2]] @ found[1], [score["clip_cosine"] for score in scores], atol=5e-3)


def test_vectors_are_cut_to_dimensions_and_more_than_there_are_is_an_error(sdk: openai.OpenAI) -> None:
    whole, short = (
        np.array(sdk.embeddings.create(model="starter-clip", input="a lake", **dimensions).data[0].embedding)
        for dimensions in ({}, {"dimensions": 16})
    )
    np.testing.assert_allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)
    with pytest.raises(openai.BadRequestError, match=f"have {len(whole)} numbers; 1536 were asked for") as refused:
        sdk.embeddings.create(model="starter-clip", input="a lake", dimensions=1536)
    assert (refused.value.param, refused.value.code) == ("dimensions", "too_many_dimensions")
