"""huggingface_hub's own client, unchanged, against a real server and worker with the starter's models."""

import asyncio
import io
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from PIL import Image, ImageDraw

from api.starter import world
from api.starter.world.scene import Scene
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
FEW = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """SYNC_WAIT_SECONDS=0: these clients say nothing of how long they wait, and wait."""
    with LiveServer(tmp_path_factory.mktemp("huggingface"), DATABASE_URL="", SYNC_WAIT_SECONDS=0) as live:
        live.key = live.manage("create_key", "huggingface").split()[-1]  # type: ignore[attr-defined]
        live.client.headers["Authorization"] = f"Bearer {live.key}"  # type: ignore[attr-defined]
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


def client(server: LiveServer, address: str) -> InferenceClient:
    return InferenceClient(f"{server.url}/hf/{address}", provider="hf-inference", token=server.key, timeout=120)  # type: ignore[attr-defined]


LAKE = Path("api/starter/weights/lake.png")


@pytest.fixture(scope="module")
def png() -> bytes:
    return LAKE.read_bytes()


@pytest.fixture(scope="module")
def balloon() -> bytes:
    written = io.BytesIO()
    pixels = world.render(Scene("hills", "day", "clear", ("sun", "balloon")), 5, 128)
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def newest_job(server: LiveServer) -> dict[str, Any]:
    [job] = server.client.get("/api/jobs/", params={"limit": 1}).json()["results"]
    return server.client.get(f"/api/jobs/{job['id']}/").json()  # type: ignore[no-any-return]


# ---------------------------------------------------------------- pictures


def test_a_text_becomes_a_picture(server: LiveServer) -> None:
    picture = client(server, "text-to-image").text_to_image(
        "a red circle",
        negative_prompt="blurry",
        width=96,
        height=128,
        guidance_scale=4.5,
        seed=7,
        scheduler="EulerDiscreteScheduler",
        **FEW,
    )
    job = newest_job(server)
    assert (picture.format, picture.size) == ("PNG", (96, 128))
    assert (job["kind"], job["source"], job["status"]) == ("txt2img", "huggingface", "succeeded")
    asked = {"negative_prompt": "blurry", "steps": 2, "guidance_scale": 4.5, "seed": 7, "scheduler": "euler"}
    assert {name: job["params"][name] for name in asked} == asked


def test_our_own_fields_go_into_extra_body(server: LiveServer) -> None:
    client(server, "text-to-image").text_to_image(
        "a (red:1.2) circle", extra_body={"prompt_syntax": "a1111", "tags": ["shop"]}, **FEW
    )
    assert newest_job(server)["params"]["tags"] == ["shop"]


def test_a_model_by_its_address_makes_pictures_of_texts_and_of_pictures(server: LiveServer, png: bytes) -> None:
    starter = client(server, "models/starter")
    assert starter.text_to_image("a lake", **FEW).size == (128, 128)
    assert starter.image_to_image(png, prompt="a lake", **FEW).size == (128, 128)
    assert newest_job(server)["kind"] == "img2img"


def test_a_picture_becomes_another_by_a_prompt(server: LiveServer, png: bytes) -> None:
    picture = client(server, "image-to-image").image_to_image(
        png, prompt="a green circle", negative_prompt="blurry", guidance_scale=3, target_size={"width": 64, "height": 96}, **FEW
    )
    params = newest_job(server)["params"]
    assert picture.size == (64, 96)
    assert (params["prompt"], params["negative_prompt"], params["guidance_scale"]) == ("a green circle", "blurry", 3)


@pytest.mark.parametrize("sent", [LAKE, str(LAKE), LAKE.read_bytes()], ids=["path", "text", "bytes"])
def test_a_picture_alone_is_sent_as_its_bytes_and_varied(server: LiveServer, sent: Any) -> None:
    """A path is sent as image/png, bytes with no Content-Type."""
    assert client(server, "image-to-image").image_to_image(sent).size == (128, 128)
    assert newest_job(server)["params"]["prompt"] == ""


def test_an_upscaler_by_its_address_enlarges(server: LiveServer, png: bytes) -> None:
    assert client(server, "models/lanczos").image_to_image(png).size == (256, 256)
    assert client(server, "models/starter-upscaler").image_to_image(png, prompt="", scale=3).size == (384, 384)


# ---------------------------------------------------------------- what is in pictures


def test_a_picture_is_described(server: LiveServer, png: bytes) -> None:
    for address in ("image-to-text", "models/starter-vlm"):
        said = client(server, address).image_to_text(png)
        assert "lake" in said.generated_text.lower()


def test_a_picture_s_words_are_read_where_the_model_reads(server: LiveServer) -> None:
    page, written = Image.new("RGB", (320, 80), "white"), io.BytesIO()
    ImageDraw.Draw(page).text((20, 20), "DARKROOM", "black", font_size=40)
    page.save(written, "PNG")
    assert client(server, "models/pp-ocr").image_to_text(written.getvalue()).generated_text == "DARKROOM"


def test_a_question_about_a_picture_is_answered_with_a_probability(server: LiveServer, png: bytes) -> None:
    for address in ("visual-question-answering", "models/starter-vlm"):
        [answer] = client(server, address).visual_question_answering(png, "What is in this image?")
        assert "lake" in str(answer.answer).lower()
        assert 0 < answer.score <= 1


def test_several_answers_are_different_and_the_likeliest_comes_first(server: LiveServer, png: bytes) -> None:
    answers = client(server, "visual-question-answering").visual_question_answering(png, "What is this?", top_k=5)
    assert 1 <= len({answer.answer for answer in answers}) == len(answers) <= 5
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)


def test_things_are_found_with_boxes_in_whole_pixels(server: LiveServer, balloon: bytes) -> None:
    for address in ("object-detection", "models/starter-detector"):
        found = client(server, address).object_detection(balloon, threshold=0.4)
        assert "balloon" in {one.label for one in found}
        for one in found:
            assert one.score >= 0.4
            assert all(type(value) is int for value in (one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax))
            assert 0 <= one.box.xmin < one.box.xmax <= 128
            assert 0 <= one.box.ymin < one.box.ymax <= 128


def test_the_label_that_fits_a_picture_has_the_highest_probability(server: LiveServer, png: bytes) -> None:
    for address in ("zero-shot-image-classification", "models/starter-clip"):
        labels = ["a red circle", "a serene lake", "a plate of food"]
        found = client(server, address).zero_shot_image_classification(png, labels, hypothesis_template="{}")
        assert found[0].label == labels[1]
        assert sum(one.score for one in found) == pytest.approx(1, abs=1e-4)


# ---------------------------------------------------------------- async, and what is asked before


def test_the_async_client_does_all_of_it_at_once(server: LiveServer, png: bytes, balloon: bytes) -> None:
    async def call(address: str, name: str, *arguments: Any, **options: Any) -> Any:
        one = AsyncInferenceClient(f"{server.url}/hf/{address}", provider="hf-inference", token=server.key)  # type: ignore[attr-defined]
        async with one:
            return await getattr(one, name)(*arguments, **options)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            call("text-to-image", "text_to_image", "a lake", **FEW),
            call("image-to-image", "image_to_image", png, prompt="a lake", **FEW),
            call("image-to-text", "image_to_text", png),
            call("visual-question-answering", "visual_question_answering", png, "What is it?"),
            call("object-detection", "object_detection", balloon),
            call("zero-shot-image-classification", "zero_shot_image_classification", png, ["a circle", "a lake"]),
            call("text-to-image", "health_check"),
            call("text-to-image", "get_endpoint_info"),
        )

    pictures, answers = (done := asyncio.run(all_at_once()))[:2], done[2:]
    assert [picture.size for picture in pictures] == [(128, 128), (128, 128)]
    assert all(answers)


def test_health_and_what_is_there_can_be_asked_before(server: LiveServer) -> None:
    assert client(server, "text-to-image").health_check()
    assert client(server, "models/starter-vlm").health_check()
    assert client(server, "text-to-image").get_endpoint_info() == {"model_id": "starter", "model_pipeline_tag": "text-to-image"}
    assert client(server, "models/pp-ocr").get_endpoint_info()["model_pipeline_tag"] == "image-to-text"
    assert not client(server, "text-to-music").health_check()
    assert not client(server, "models/nobody/nothing").health_check()


# ---------------------------------------------------------------- errors


def test_an_error_names_the_field_as_the_client_knows_it(server: LiveServer) -> None:
    with pytest.raises(BadRequestError, match=r"parameters\.num_inference_steps: .*150"):
        client(server, "text-to-image").text_to_image("a lake", num_inference_steps=400)
    with pytest.raises(BadRequestError, match=r"parameters\.width: Must be a multiple of 8"):
        client(server, "text-to-image").text_to_image("a lake", width=100)
    with pytest.raises(BadRequestError, match=r"inputs: This is not a .* image"):
        client(server, "object-detection").object_detection(b"no picture")


def test_an_unknown_model_or_task_is_404_and_a_wrong_key_401(server: LiveServer) -> None:
    for address, said in (
        ("models/nobody/nothing", "nobody/nothing"),
        ("text-to-music", "Known: text-to-image, image-to-image"),
    ):
        with pytest.raises(HfHubHTTPError, match=said) as refused:
            client(server, address).text_to_image("a lake")
        assert refused.value.response.status_code == 404
    stranger = InferenceClient(base_url=f"{server.url}/hf/text-to-image", token=f"drk_{uuid.uuid4()}")
    with pytest.raises(HfHubHTTPError) as refused:
        stranger.text_to_image("a lake")
    assert refused.value.response.status_code == 401
    assert refused.value.response.json().keys() == {"error", "error_type"}


def test_a_warning_of_the_job_is_shown_by_the_client(server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        client(server, "text-to-image").text_to_image("a (red:1.5) circle", extra_body={"prompt_syntax": "plain"}, **FEW)
    assert newest_job(server)["warnings"][0][:20] in caplog.text


def test_it_chats_at_openai_s_address_and_at_a_model_s(server: LiveServer) -> None:
    hello = [{"role": "user", "content": "hello"}]
    for address in ("v1", "hf/models/starter-vlm"):
        chats = InferenceClient(base_url=f"{server.url}/{address}", token=server.key)  # type: ignore[attr-defined]
        answer = chats.chat_completion(hello, max_tokens=5)
        assert (answer.model, bool(answer.choices[0].message.content)) == ("starter-vlm", True)
    assert newest_job(server)["source"] == "huggingface"
    assert "".join(part.choices[0].delta.content or "" for part in chats.chat_completion(hello, max_tokens=5, stream=True))
    with pytest.raises(BadRequestError, match="'starter' doesn't chat"):
        client(server, "models/starter").chat_completion(hello)
