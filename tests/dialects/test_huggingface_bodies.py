"""What may be sent to /hf/, what becomes of it, and what is refused in Hugging Face's words."""

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.dialects.huggingface.errors import place_of
from api.dialects.huggingface.tasks import TASKS
from api.dialects.huggingface.tasks.classification import probabilities
from api.dialects.huggingface.tasks.texts import probability_of
from api.files.models import StoredFile
from api.jobs.models import Job
from tests.api.bodies import VLM, png, stored, text

pytestmark = pytest.mark.django_db(transaction=True)
PNG = png()
LATER = {"Prefer": "respond-async"}
NAMED = {"parameters": {"model": VLM}}


def send(client: Client, address: str, body: Any, content_type: str | None = None, **headers: str) -> Any:
    """Bytes without a Content-Type, everything else as JSON, where nothing else is said."""
    if content_type is None:
        content_type = "" if isinstance(body, bytes) else "application/json"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", f"/hf/{address}", data, content_type=content_type, headers={**LATER, **headers})


def params_of(reply: Any) -> dict[str, Any]:
    assert reply.status_code == 202, reply.content
    return Job.objects.get(pk=reply.json()["id"]).params


def error_of(reply: Any, status: int = 400) -> str:
    assert (reply.status_code, reply["Content-Type"]) == (status, "application/json")
    assert reply.json().keys() == {"error", "error_type"}
    assert not Job.objects.exists()
    return str(reply.json()["error"])


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "content_type", ["", "image/png", "application/octet-stream", "application/x-www-form-urlencoded", "x"]
)
def test_a_picture_is_known_by_its_bytes(client: Client, content_type: str) -> None:
    params = params_of(send(client, "object-detection", PNG, content_type))
    assert StoredFile.objects.get().pk.hex == params["image"].replace("-", "")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "image/png", "application/json"]
)
def test_json_is_known_by_how_it_begins(client: Client, content_type: str) -> None:
    assert params_of(send(client, "text-to-image", b'\xef\xbb\xbf {"inputs": "a lake"}', content_type))["prompt"] == "a lake"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "inputs: "),
        (b"{", "This is not JSON"),
        (b"a lake", "inputs: Must be a text"),
        (b"[1]", "inputs: "),
        (b'{"inputs": "a", "inputs": "b"}', "inputs: The key"),
        ({}, "inputs: This field is required."),
        ({"inputs": None}, "inputs: This field is required."),
        ({"inputs": "a", "prompt": "b"}, "prompt: Unknown field."),
        ({"inputs": "a", "parameters": [1]}, "parameters: Must be a JSON object."),
        ({"inputs": "a", "parameters": {"stepps": 4}}, "parameters.stepps: Unknown field. Did you mean 'steps'?"),
        ({"inputs": "a", "parameters": {"num_images_per_prompt": 4}}, "parameters.num_images_per_prompt: "),
        ({"inputs": "a", "parameters": {"num_images": 4}}, "parameters.num_images: This address answers with one picture"),
        ({"inputs": "a", "parameters": {"steps": 4, "num_inference_steps": 5}}, "parameters.num_inference_steps: "),
        ({"inputs": "a", "parameters": {"loras": [{"id": "nobody"}]}}, "parameters.loras.0.id: "),
        ({"inputs": "a", "parameters": {"scheduler": "EulerX"}}, "parameters.scheduler: There is no scheduler"),
        ({"inputs": "a", "stream": True}, "stream: "),
        ({"inputs": "a", "options": {"cache": 1}}, "options.cache: Unknown option."),
        ({"inputs": ["a"]}, "inputs: Must be a text"),
    ],
)
def test_what_cannot_be_made_of_a_text_names_its_place(client: Client, body: Any, said: str) -> None:
    assert said in error_of(send(client, "text-to-image", body))


def test_a_picture_in_a_text_s_place_is_told_where_pictures_go(client: Client) -> None:
    assert "/hf/image-to-image takes pictures" in error_of(send(client, "text-to-image", PNG, ""))


def test_a_form_is_not_read(client: Client) -> None:
    reply = client.post("/hf/object-detection", {"inputs": "x"}, headers=LATER)
    assert "multipart/form-data" in error_of(reply, 415)


def test_what_asks_for_nothing_is_accepted(client: Client) -> None:
    body = {
        "inputs": "a lake",
        "parameters": {"num_images_per_prompt": 1, "negative_prompt": None, "loras": [], "eta": 0.0, "return_dict": False},
        "options": {"use_cache": False, "wait_for_model": True},
        "stream": False,
        "question": None,
    }
    assert params_of(send(client, "text-to-image", body))["prompt"] == "a lake"


@pytest.mark.parametrize(
    ("accepted", "format"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpeg"),
        ("text/html, image/webp;q=0.8, */*", "webp"),
        ("*/*", "png"),
        ("image/*", "png"),
    ],
)
def test_accept_names_the_format(client: Client, accepted: str, format: str) -> None:
    assert params_of(send(client, "text-to-image", {"inputs": "a"}, Accept=accepted))["output_format"] == format


def test_what_the_body_says_of_the_format_counts_more(client: Client) -> None:
    body = {"inputs": "a", "parameters": {"output_format": "webp"}}
    assert params_of(send(client, "text-to-image", body, Accept="image/jpeg"))["output_format"] == "webp"


# ---------------------------------------------------------------- tasks


def test_a_size_stands_alone_or_in_target_size(client: Client) -> None:
    body = {"inputs": text(PNG), "parameters": {"prompt": "a", "target_size": {"width": 96, "height": 64}}}
    assert [params_of(send(client, "image-to-image", body))[side] for side in ("width", "height")] == [96, 64]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"target_size": 64}, "parameters.target_size: "),
        ({"target_size": {"width": 64, "depth": 8}}, "parameters.target_size: "),
        ({"target_size": {"width": 64}, "width": 64}, "parameters.width: "),
        ({"target_size": {"width": 65, "height": 64}}, "parameters.width: Must be a multiple of 8"),
        ({"prompt": 3.5, "strength": 2}, "parameters.strength: "),
        ({"mask_image": "x"}, "parameters.mask_image: "),
    ],
)
def test_what_cannot_be_made_of_a_picture_names_its_place(client: Client, parameters: Any, said: str) -> None:
    assert said in error_of(send(client, "image-to-image", {"inputs": text(PNG), "parameters": parameters}))


@pytest.mark.parametrize("inputs", [text(PNG), {"image": text(PNG)}, f"data:image/png;base64,{text(PNG)}"])
def test_a_picture_is_a_text_or_inside_of_an_object(client: Client, inputs: Any) -> None:
    assert params_of(send(client, "object-detection", {"inputs": inputs, "parameters": {"threshold": 0.9}}))["threshold"] == 0.9


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"inputs": "a lake"}, "txt2img"),
        ({"inputs": "lake"}, "txt2img"),  # which is base64, too
        ({"inputs": text(PNG)}, "img2img"),
        ({"inputs": text(PNG), "parameters": {"strength": 0.5}}, "img2img"),
        ({"inputs": {"image": text(PNG)}, "parameters": {"prompt": "a lake"}}, "img2img"),
        (PNG, "img2img"),
    ],
)
def test_of_a_model_that_makes_pictures_the_inputs_say_which_way(client: Client, body: Any, kind: str) -> None:
    params_of(reply := send(client, "models/starter", body))
    assert reply.json()["kind"] == kind


def test_a_picture_here_is_named_by_its_id(client: Client) -> None:
    assert send(client, "models/starter", {"inputs": str(stored().pk)}).json()["kind"] == "img2img"


@pytest.mark.parametrize(
    ("model", "body", "kind"),
    [
        ("starter-vlm", {"inputs": text(PNG)}, "chat"),
        ("starter-vlm", {"inputs": {"image": text(PNG), "question": "What is it?"}}, "chat"),
        (VLM, {"inputs": text(PNG), "question": "What is it?"}, "chat"),
        ("starter-detector", PNG, "detect"),
        ("grounding-dino-tiny", {"inputs": text(PNG), "parameters": {"candidate_labels": ["a cat"]}}, "detect"),
        ("starter-clip", {"inputs": text(PNG), "parameters": {"candidate_labels": "a cat, a dog"}}, "clip_score"),
        ("lanczos", PNG, "upscale"),
        ("pp-ocr", PNG, "ocr"),
    ],
)
def test_each_model_does_what_it_does(client: Client, model: str, body: Any, kind: str) -> None:
    reply = send(client, f"models/{model}", body)
    params = params_of(reply)
    assert reply.json()["kind"] == kind
    assert params.get("model_id", params.get("model")) == model


def test_a_model_that_does_none_of_the_tasks_says_what_it_does(client: Client) -> None:
    assert "its own is hazard-cells" in error_of(send(client, "models/starter-hazards", PNG))


@pytest.mark.parametrize(
    ("generation", "temperature"),
    [({}, 0), ({"temperature": 0.7}, 0.7), ({"do_sample": True}, None), ({"do_sample": False, "temperature": 0.7}, 0)],
)
def test_the_likeliest_words_unless_a_sample_is_asked_for(client: Client, generation: Any, temperature: float | None) -> None:
    body = {
        "inputs": text(PNG),
        "parameters": {**NAMED["parameters"], "generation_parameters": generation, "max_new_tokens": 9},
    }
    params = params_of(send(client, "image-to-text", body))
    assert (params.get("temperature"), params["max_tokens"]) == (temperature, 9)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"do_sample": "yes"}, "parameters.do_sample: "),
        ({"num_beams": 4}, "parameters.num_beams: "),
        ({"generation_parameters": [1]}, "parameters.generation_parameters: "),
        ({"max_new_tokens": 0}, "parameters.max_new_tokens: "),
        ({"prompt": 7}, "inputs: "),
    ],
)
def test_what_a_description_cannot_be_told(client: Client, parameters: Any, said: str) -> None:
    assert said in error_of(send(client, "image-to-text", {"inputs": text(PNG), "parameters": {"model": VLM, **parameters}}))


@pytest.mark.parametrize(("top_k", "n"), [(1, None), (3, 3), (100, 8)])
def test_several_answers_are_so_many_samples(client: Client, top_k: int, n: int | None) -> None:
    body = {"inputs": text(PNG), "question": "What is it?", "parameters": {"model": VLM, "top_k": top_k}}
    params = params_of(send(client, "visual-question-answering", body))
    assert (params.get("n"), params.get("temperature"), params["logprobs"]) == (n, 0 if n is None else None, True)


@pytest.mark.parametrize("question", [None, "", " ", 7, ["What?"]])
def test_a_question_is_a_text(client: Client, question: Any) -> None:
    assert "question: " in error_of(send(client, "visual-question-answering", {"inputs": text(PNG), "question": question}))


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "3"])
def test_a_number_of_answers_is_whole(client: Client, top_k: Any) -> None:
    body = {"inputs": text(PNG), "question": "What?", "parameters": {"top_k": top_k}}
    assert "parameters.top_k: " in error_of(send(client, "visual-question-answering", body))


@pytest.mark.parametrize(
    ("parameters", "prompts"),
    [
        ({"candidate_labels": ["cat", "dog"]}, ["This is a photo of cat.", "This is a photo of dog."]),
        ({"candidate_labels": "cat, dog", "hypothesis_template": "{} {0}"}, ["cat {0}", "dog {0}"]),
    ],
)
def test_a_label_is_put_into_its_sentence(client: Client, parameters: Any, prompts: list[str]) -> None:
    body = {"inputs": text(PNG), "parameters": parameters}
    assert params_of(send(client, "zero-shot-image-classification", body))["prompts"] == prompts


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "parameters.candidate_labels: "),
        ({"candidate_labels": [1, 2]}, "parameters.candidate_labels: "),
        ({"candidate_labels": ["a"] * 65}, "parameters.candidate_labels"),
        ({"candidate_labels": ["a", " "]}, "parameters.candidate_labels: "),
        ({"candidate_labels": ["a"], "hypothesis_template": "a photo"}, "parameters.hypothesis_template: "),
        ({"candidate_labels": ["a"], "hypothesis_template": 7}, "parameters.hypothesis_template: "),
    ],
)
def test_what_labels_cannot_be(client: Client, parameters: Any, said: str) -> None:
    assert said in error_of(send(client, "zero-shot-image-classification", {"inputs": text(PNG), "parameters": parameters}))


@pytest.mark.parametrize("task", [name for name in TASKS if name != "text-to-image"])
def test_without_a_picture_there_is_nothing_to_look_at(client: Client, task: str) -> None:
    body = {"question": "What?", "parameters": {"candidate_labels": ["a"]}}
    assert "inputs: Send a picture" in error_of(send(client, task, body))


# ---------------------------------------------------------------- figures, and names


def test_probabilities_are_those_of_a_softmax() -> None:
    assert probabilities([0.0, 0.0]) == [0.5, 0.5]
    assert probabilities([1000.0, 0.0]) == [1.0, 0.0]


def test_an_answer_s_probability_is_the_product_of_its_tokens() -> None:
    choice = {"text": "red", "logprobs": [{"logprob": -0.6931472}, {"logprob": -0.6931472}]}
    assert probability_of(choice) == pytest.approx(0.25)
    assert probability_of({"text": "red", "logprobs": None}) is None


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("steps", "parameters.num_inference_steps"),
        ("loras.0.id", "parameters.loras.0.id"),
        ("prompt", "inputs"),
        ("", "inputs"),
    ],
)
def test_a_field_is_called_as_it_was_sent(field: str, place: str) -> None:
    assert place_of(field, {"steps": "parameters.num_inference_steps", "prompt": "inputs"}) == place


# ---------------------------------------------------------------- whatever is sent


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["prompt", "negative_prompt", "target_size", "num_inference_steps", "width", "seed", "scheduler", "top_k", "temperature",
         "threshold", "candidate_labels", "hypothesis_template", "generation_parameters", "max_new_tokens", "model_id", "loras"]
    ),
    JSON,
    max_size=4,
)  # fmt: skip
BODY = st.fixed_dictionaries(
    {},
    optional={
        "inputs": JSON | st.just(text(PNG)),
        "parameters": PARAMETERS | JSON,
        "options": JSON,
        "question": JSON,
        "image": JSON,
    },
)
ADDRESSES = [*TASKS, "models/starter", "models/starter-vlm", "models/lanczos", "models/pp-ocr", "models/starter-clip"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    address=st.sampled_from(ADDRESSES),
    body=BODY | JSON | st.binary(max_size=60),
    content_type=st.sampled_from(["", "image/png", "application/json"]),
)
def test_whatever_is_sent_is_a_job_or_is_refused_in_hugging_face_s_form(
    client: Client, address: str, body: Any, content_type: str
) -> None:
    reply = send(client, address, body, content_type)
    assert reply.status_code in (202, 400, 404, 429, 503), reply.content
    assert reply["Content-Type"] == "application/json"
    if reply.status_code != 202:
        assert reply.json().keys() == {"error", "error_type"}


# ---------------------------------------------------------------- what is not read is refused


@pytest.mark.parametrize(
    ("address", "body", "said"),
    [
        ("text-to-image", {"inputs": "a", "image": text(PNG)}, "image: text-to-image reads no image"),
        ("text-to-image", {"inputs": "a", "question": "b"}, "question: text-to-image reads no question"),
        ("text-to-image", {"inputs": {"text": "a"}}, "inputs.text: Unknown field."),
        ("image-to-image", {"inputs": text(PNG), "question": "b"}, "question: image-to-image reads no question"),
        ("image-to-text", {"inputs": text(PNG), "question": "b"}, "question: image-to-text reads no question"),
        ("models/starter", {"inputs": "a", "image": text(PNG)}, "image: "),
        ("visual-question-answering", {"inputs": {"question": "a", "image": text(PNG), "b": 1}}, "inputs.b: Unknown field."),
        ("visual-question-answering", {"inputs": {"question": "a", "image": text(PNG)}, "question": "b"}, "question: "),
        (
            "visual-question-answering",
            {"inputs": text(PNG), "question": "a", "parameters": {"stream": True}},
            "parameters.stream: ",
        ),
    ],
)
def test_a_part_that_the_task_does_not_read_is_named(client: Client, address: str, body: Any, said: str) -> None:
    assert said in error_of(send(client, address, body))


def test_a_question_may_stand_in_both_places(client: Client) -> None:
    inside = {"question": "What?", "image": text(PNG)}
    params_of(send(client, "visual-question-answering", {**NAMED, "inputs": text(PNG), **inside}))
    params_of(send(client, "visual-question-answering", {**NAMED, "inputs": inside, "question": "What?"}))


def test_a_form_is_told_what_is_read_instead(client: Client) -> None:
    reply = client.post("/hf/object-detection", {"inputs": "x"}, headers=LATER)
    assert "a picture's bytes as the body" in error_of(reply, 415)
