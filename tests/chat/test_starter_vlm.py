"""The built-in chat model, as a client of OpenAI's meets it: what it says is true."""

import json
from typing import Literal

import numpy as np
import openai
import pytest
from PIL import Image, ImageDraw
from pydantic import BaseModel

from api.starter import world
from api.starter.talk.fallback_answers import DONT_KNOW, UNSEEN_NOUNS
from api.starter.talk.labelled_pictures import sample_picture
from api.starter.vlm_figures import held_out_questions
from api.starter.world.food import Food, sample_food
from config import settings
from tests.chat.conftest import ask, data_url

pytestmark = pytest.mark.models
MODEL = "starter-vlm"


class Shape(BaseModel):
    shape: Literal["circle", "square", "triangle", "star"]
    color: str
    count: int


def told(sdk: openai.OpenAI, text: str, *images: Image.Image, **options: object) -> str:
    messages = ask(text, *map(data_url, images))
    reply = sdk.chat.completions.create(model=MODEL, messages=messages, temperature=0, **options)  # type: ignore[call-overload]
    return reply.choices[0].message.content  # type: ignore[no-any-return]


def shape(form: str, colour: str, size: int = 256) -> Image.Image:
    """Drawn with Pillow, as anybody would draw it."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    low, high = size * 0.3, size * 0.7
    if form == "circle":
        draw.ellipse((low, low, high, high), fill=colour)
    elif form == "square":
        draw.rectangle((low, low, high, high), fill=colour)
    else:
        draw.polygon(((size / 2, low), (high, high), (low, high)), fill=colour)
    return image


def samples(kind: bool, count: int) -> list[Image.Image]:
    """Pizzas, or anything else."""
    rng, found = np.random.default_rng(23), []
    while len(found) < count:
        facts = sample_food(rng) if kind else sample_picture(rng).facts
        if (isinstance(facts, Food) and facts.dish == "pizza") == kind:
            found.append(Image.fromarray(world.render(facts, int(rng.integers(10**6)), size=256)))
    return found


def test_it_is_the_default() -> None:
    assert settings.DEFAULT_CHAT_MODEL == MODEL


def test_of_ten_pizzas_at_least_nine_are_called_so_and_nothing_else_is(sdk: openai.OpenAI) -> None:
    answers = {kind: [told(sdk, "What is in this image?", image) for image in samples(kind, 10)] for kind in (True, False)}
    assert sum("pizza" in answer.lower() for answer in answers[True]) >= 9, answers[True]
    assert not any("pizza" in answer.lower() for answer in answers[False]), answers[False]


def test_closed_questions_about_held_out_pictures(sdk: openai.OpenAI) -> None:
    asked = held_out_questions(60, seed=4242)
    right = [told(sdk, question.text, Image.fromarray(seen.pixels)) == question.answer for seen, question in asked]
    assert np.mean(right) >= 0.75, f"{sum(right)} of 60"


@pytest.mark.parametrize(
    ("form", "colour"), [("circle", "red"), ("square", "blue"), ("triangle", "green"), ("circle", "black")]
)
def test_a_plain_shape_by_another_program(sdk: openai.OpenAI, form: str, colour: str) -> None:
    image = shape(form, colour)
    assert told(sdk, "What shape is this?", image) == f"A {form}."
    assert told(sdk, "What color is it?", image) == f"{colour.capitalize()}."


def test_json_under_a_schema(sdk: openai.OpenAI) -> None:
    messages = ask("Describe this picture as JSON: shape, color, count.", data_url(shape("circle", "red")))
    reply = sdk.chat.completions.parse(model=MODEL, messages=messages, temperature=0, response_format=Shape)  # type: ignore[arg-type]
    assert reply.choices[0].message.parsed == Shape(shape="circle", color="red", count=1)


def test_a_second_question_about_the_same_picture(sdk: openai.OpenAI) -> None:
    first = ask("What shape is this?", data_url(shape("square", "blue")))
    answer = sdk.chat.completions.create(model=MODEL, messages=first, temperature=0).choices[0].message.content  # type: ignore[call-overload]
    messages = [*first, {"role": "assistant", "content": answer}, {"role": "user", "content": "And what colour is it?"}]
    second = sdk.chat.completions.create(model=MODEL, messages=messages, temperature=0)  # type: ignore[call-overload]
    assert (answer, second.choices[0].message.content) == ("A square.", "Blue.")


def test_it_says_that_it_doesnt_know_what_it_never_saw(sdk: openai.OpenAI) -> None:
    images = [Image.fromarray(sample_picture(np.random.default_rng(seed)).pixels) for seed in range(10)]
    answers = [told(sdk, f"Is there a {noun}?", image) for noun, image in zip(UNSEEN_NOUNS, images, strict=False)]
    assert sum(answer == DONT_KNOW for answer in answers) >= 8, answers


def test_without_a_picture_it_asks_for_one(sdk: openai.OpenAI) -> None:
    assert "picture" in told(sdk, "What is in this image?")


def test_it_can_be_told_any_text_and_write_it(sdk: openai.OpenAI) -> None:
    """Its vocabulary is bytes: nothing is unknown, and a schema can make it write anything."""
    schema = {
        "type": "object",
        "properties": {"ключ": {"const": "søt 寿司 🍕"}},
        "required": ["ключ"],
        "additionalProperties": False,
    }
    format = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
    answer = told(sdk, "Что это? 🍕", shape("circle", "red"), response_format=format, max_tokens=200)
    assert json.loads(answer) == {"ключ": "søt 寿司 🍕"}


@pytest.mark.parametrize("name", ["shapes", "things", "answer", "what_you_see", "a"])
@pytest.mark.parametrize("kind", [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], ids=["text", "list"])
def test_a_schema_of_one_field_is_filled_in_a_few_words(sdk: openai.OpenAI, name: str, kind: dict[str, object]) -> None:
    """It wrote "shapeshapeshape" to the end of its context: a string ends where it has nothing more to say, or goes round."""
    schema = {"type": "object", "properties": {name: kind}, "required": [name], "additionalProperties": False}
    format = {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}
    messages = ask("What is in this image?", data_url(shape("circle", "red")))
    reply = sdk.chat.completions.create(model=MODEL, messages=messages, temperature=0, response_format=format)  # type: ignore[call-overload]
    assert list(json.loads(reply.choices[0].message.content)) == [name]
    assert reply.usage.completion_tokens < 150
