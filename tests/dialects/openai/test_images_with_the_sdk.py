"""OpenAI's current SDK, unchanged, makes, edits and varies pictures against a running server: sync and async, whole and as a stream."""

import asyncio
import base64
import io
import json
from typing import Any

import httpx
import openai
import pytest
from django.utils import timezone
from PIL import Image, ImageChops

from api.dialects.openai.images.replies import AnswerForm
from api.dialects.openai.images.streaming import PictureStream
from api.jobs.models import Job, JobEvent
from tests.dialects.openai.conftest import OpenAIServer, blue, mask, opened

pytestmark = [pytest.mark.models]
QUICK: Any = {"size": "64x64", "extra_body": {"steps": 4}}


@pytest.fixture(scope="module")
def sdk(server: OpenAIServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)


def test_a_url_answers_with_a_picture_to_the_same_key(sdk: openai.OpenAI, server: OpenAIServer) -> None:
    made = sdk.images.generate(prompt="a red circle", model="dall-e-2", n=2, **QUICK)
    assert (len(made.data or []), made.created > 1_700_000_000) == (2, True)
    for picture in made.data or []:
        assert picture.b64_json is None
        reply = server.get(str(picture.url))
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, "image/png")
        assert Image.open(io.BytesIO(reply.content)).size == (64, 64)
        assert server.get(str(picture.url), key=server.other).status_code == 404


@pytest.mark.parametrize(
    ("options", "codec"),
    [
        ({"response_format": "b64_json"}, "PNG"),
        ({"model": "gpt-image-1"}, "PNG"),
        ({"model": "gpt-image-1", "output_format": "webp", "output_compression": 40}, "WEBP"),
        ({"model": "gpt-image-1", "output_format": "jpeg"}, "JPEG"),
    ],
)
def test_base64_is_of_the_format_that_was_asked(sdk: openai.OpenAI, options: Any, codec: str) -> None:
    made = sdk.images.generate(prompt="a red circle", **QUICK, **options)
    [picture] = made.data or []
    assert (picture.url, opened(picture.b64_json).format) == (None, codec)
    assert (made.output_format, made.background, made.size) == (codec.lower(), "opaque", None)


def test_a_quality_and_a_size_of_openais_are_repeated(sdk: openai.OpenAI) -> None:
    made = sdk.images.generate(prompt="a red circle", quality="hd", size="64x64")
    assert (made.quality, made.size) == ("high", None)
    assert sdk.images.generate(prompt="a red circle", **QUICK).quality is None


def test_the_job_is_in_the_history_under_the_name_of_its_api(sdk: openai.OpenAI, server: OpenAIServer) -> None:
    made: Any = sdk.images.generate(prompt="a red circle to be found", **QUICK, user="somebody")
    [job] = server.jobs("to be found")
    assert (job["id"], job["source"], job["kind"], job["status"]) == (made.job, "openai", "txt2img", "succeeded")
    assert made.data[0].seed == job["params"]["seed"]


def test_a_seed_gives_the_picture_of_our_own_api(sdk: openai.OpenAI, server: OpenAIServer) -> None:
    asked: Any = {"prompt": "a red circle", "seed": 11, "steps": 4, "width": 64, "height": 64}
    own = server.live.client.post(
        "/api/txt2img/?include=base64", json=asked, headers={"Authorization": f"Bearer {server.key}"}
    ).json()
    made = sdk.images.generate(
        prompt="a red circle", response_format="b64_json", size="64x64", extra_body={"seed": 11, "steps": 4}
    )
    here = [opened(one).convert("RGB") for one in (own["result"]["images"][0]["image_base64"], (made.data or [])[0].b64_json)]
    assert max(high for _, high in ImageChops.difference(*here).getextrema()) <= 2


def test_a_prompt_that_was_read_otherwise_than_sent_is_told(sdk: openai.OpenAI) -> None:
    options: Any = {"size": "64x64", "extra_body": {"steps": 4, "prompt_syntax": "a1111"}}
    [plain] = sdk.images.generate(prompt="a red circle", **options).data or []
    [read] = sdk.images.generate(prompt="a red circle <hypernet:x:1>", **options).data or []
    assert (plain.revised_prompt, read.revised_prompt) == (None, "a red circle")


def test_a_transparent_background_is_one(sdk: openai.OpenAI) -> None:
    options: Any = {"prompt": "a red circle", "model": "gpt-image-1", "background": "transparent", "extra_body": {"seed": 7}}
    for name in ("png", "webp"):
        made: Any = sdk.images.generate(**options, output_format=name)
        picture = opened(made.data[0].b64_json)
        assert (made.background, picture.mode, picture.size) == ("transparent", "RGBA", (128, 128))
        low, high = picture.getchannel("A").getextrema()
        assert (low, high > 200) == (0, True)
    [event] = list(sdk.images.generate(**options, stream=True))
    assert event.background == "transparent"


# ---------------------------------------------------------------- streams


def test_a_stream_has_partial_images_and_then_the_picture(sdk: openai.OpenAI) -> None:
    events = list(
        sdk.images.generate(prompt="a red circle", model="gpt-image-1", stream=True, partial_images=2, extra_body={"steps": 60})
    )
    partial, [whole] = events[:-1], events[-1:]
    assert whole.type == "image_generation.completed"
    assert opened(whole.b64_json).size == (128, 128)
    assert (whole.output_format, whole.usage.total_tokens, whole.background, whole.size) == ("png", 0, "opaque", "128x128")
    assert [event.type for event in partial] == ["image_generation.partial_image"] * len(partial)
    assert [event.partial_image_index for event in partial] == list(range(len(partial)))  # type: ignore[union-attr]
    assert 1 <= len(partial) <= 2
    assert {opened(event.b64_json).format for event in partial} == {"JPEG"}
    assert {(event.output_format, event.size) for event in partial} == {("jpeg", "128x128")}


def test_without_partial_images_a_stream_is_one_event_for_each_picture(sdk: openai.OpenAI) -> None:
    events: Any = list(sdk.images.generate(prompt="a red circle", model="gpt-image-1", n=2, stream=True, **QUICK))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert len({event.seed for event in events}) == 2
    assert [event.image_index for event in events] == [0, 1]


@pytest.mark.parametrize(("best_of", "index"), [(None, 9), (12, None)])
def test_a_partial_image_says_which_of_several_pictures_it_is_of(best_of: int | None, index: int | None) -> None:
    """Of candidates it isn't known which are kept."""
    params = {"width": 64, "height": 64, "seed": 5, "best_of": best_of, "output_format": "png"}
    job = Job(params=params, created_at=timezone.now())
    form = AnswerForm(in_base64=True, quality="", prompt="")
    stream = PictureStream(job, None, form, prefix="image_generation", partial_images=2)
    preview = {"preview": "data:image/jpeg;base64,AAAA", "fraction": 0.9, "number": 9}
    [told] = stream.encode(JobEvent(type="preview", data=preview))
    data = json.loads(told.decode().split("data: ")[1])
    assert (data["partial_image_index"], data.get("image_index")) == (0, index)


def test_an_edits_stream_has_names_of_its_own(sdk: openai.OpenAI) -> None:
    events = sdk.images.edit(image=blue(), prompt="a red circle", model="gpt-image-1", stream=True, **QUICK)
    assert [event.type for event in events] == ["image_edit.completed"]


def test_what_is_refused_before_a_stream_begins_has_its_status(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="size"):
        sdk.images.generate(prompt="a red circle", size="65x65", stream=True)


def test_a_stream_whose_job_is_cancelled_ends_with_an_error(sdk: openai.OpenAI, server: OpenAIServer) -> None:
    options: Any = {"stream": True, "partial_images": 1, "size": "256x256", "extra_body": {"steps": 150}}
    events = iter(sdk.images.generate(prompt="a stream to be cancelled", **options))
    assert next(events).type == "image_generation.partial_image"
    [job] = server.jobs("a stream to be cancelled")
    server.live.client.post(job["links"]["cancel"], headers={"Authorization": f"Bearer {server.key}"})
    with pytest.raises(openai.APIError, match="cancelled"):
        list(events)


# ---------------------------------------------------------------- edits, variations


def test_a_mask_is_painted_and_the_rest_kept(sdk: openai.OpenAI) -> None:
    made = sdk.images.edit(image=blue(128), mask=mask(128), prompt="a red circle", response_format="b64_json")
    picture = opened((made.data or [])[0].b64_json).convert("RGB")
    assert picture.size == (128, 128)
    assert max(abs(one - other) for one, other in zip(picture.getpixel((2, 2)), (0, 0, 255), strict=True)) <= 40  # type: ignore[arg-type]
    inside = picture.crop((40, 40, 88, 88))
    assert max(high for _, high in ImageChops.difference(inside, Image.new("RGB", inside.size, "blue")).getextrema()) > 60


def test_a_list_of_one_picture_is_that_picture(sdk: openai.OpenAI) -> None:
    assert sdk.images.edit(image=[blue()], prompt="a red circle", **QUICK).data


def test_more_pictures_than_the_model_takes_are_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.images.edit(image=[blue(), blue()], prompt="a red circle")
    assert (refused.value.param, refused.value.code) == ("image", "too_many_images")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_picture_made_here_is_varied_by_its_own_prompt(sdk: openai.OpenAI, server: OpenAIServer) -> None:
    made = sdk.images.generate(prompt="a circle to be varied", response_format="b64_json", **QUICK)
    varied = sdk.images.create_variation(image=base64.b64decode((made.data or [])[0].b64_json or ""), n=2, size="64x64")
    assert len(varied.data or []) == 2
    assert {job["params"]["prompt"] for job in server.jobs("a circle to be varied")} == {"a circle to be varied"}


# ---------------------------------------------------------------- async, retries


async def test_the_async_sdk_does_the_same(server: OpenAIServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as sdk:
        options: Any = {"prompt": "a red circle", "model": "gpt-image-1", **QUICK}
        made = await asyncio.gather(*(sdk.images.generate(**options) for _ in range(3)))
        assert [opened((one.data or [])[0].b64_json).size for one in made] == [(64, 64)] * 3
        events = [event async for event in await sdk.images.generate(**options, stream=True)]
        assert [event.type for event in events] == ["image_generation.completed"]
        edited = await sdk.images.edit(image=("a.png", blue(), "image/png"), prompt="a red circle", **QUICK)
        assert edited.data


def test_an_sdk_that_times_out_and_asks_again_makes_one_job(server: OpenAIServer) -> None:
    impatient = openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=1, timeout=0.4)
    with pytest.raises(openai.APITimeoutError):
        impatient.images.generate(prompt="a circle for the impatient", size="128x128", extra_body={"steps": 100})
    [job] = server.jobs("a circle for the impatient")
    server.live.wait_until(lambda: server.get(job["links"]["self"]).json()["status"] == "succeeded", "it is made all the same")


@pytest.mark.parametrize("options", [{"size": "65x65"}, {"model": "no-such-model"}, {"quality": "best"}])
def test_what_will_fail_again_is_not_tried_again(server: OpenAIServer, options: Any) -> None:
    asked: list[httpx.Request] = []
    client = httpx.Client(event_hooks={"request": [asked.append]})
    sdk = openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=2, http_client=client)
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.images.generate(prompt="a red circle", **options)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert len(asked) == 1


def test_a_wrong_key_is_an_authentication_error(server: OpenAIServer) -> None:
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.base_url, api_key="drk_wrong", max_retries=0).images.generate(prompt="a")


# ---------------------------------------------------------------- the list of models


def test_models_that_make_pictures_are_listed_and_told_from_chats(sdk: openai.OpenAI) -> None:
    tasks = {model.id: model.task for model in sdk.models.list()}  # type: ignore[attr-defined]
    assert (tasks["starter"], tasks["starter-vlm"]) == ("text-to-image", "image-text-to-text")
    assert next(iter(tasks.values())) != "text-to-image"
    assert sdk.models.retrieve("starter").id == "starter"


def test_a_model_that_clients_have_built_in_can_be_asked_for(sdk: openai.OpenAI) -> None:
    assert sdk.models.retrieve("gpt-image-1").id == "gpt-image-1"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("starter-detector")
