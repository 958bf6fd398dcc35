"""instructor: answers as classes in its three modes of OpenAI's API, in parts, as lists, and asked for again where they don't fit."""

from typing import Any

import instructor
import openai
import pytest
from pydantic import BaseModel, field_validator
from shared import ASKED, REAL, SCRIPTED, Sight

OPTIONS: Any = {"model": REAL, "messages": [{"role": "user", "content": ASKED}], "temperature": 0, "max_tokens": 300}


def client_of(mode: instructor.Mode | None = None) -> Any:
    made = openai.OpenAI(max_retries=0)
    return instructor.from_openai(made, mode=mode) if mode else instructor.from_openai(made)


@pytest.mark.parametrize("mode", [None, instructor.Mode.JSON_SCHEMA], ids=["default", "JSON_SCHEMA"])
def test_an_answer_is_a_class_and_comes_in_parts(mode: instructor.Mode | None) -> None:
    client = client_of(mode)
    assert isinstance(client.create(response_model=Sight, **OPTIONS), Sight)
    *_, last = client.create_partial(response_model=Sight, **OPTIONS)
    assert last.color in ("red", "blue")


def test_json_mode_names_the_schema_in_the_prompt() -> None:
    class Note(BaseModel):
        title: str = ""

    assert isinstance(client_of(instructor.Mode.JSON).create(response_model=Note, **OPTIONS), Note)


async def test_the_async_client_and_lists() -> None:
    client = instructor.from_openai(openai.AsyncOpenAI(max_retries=0))
    assert isinstance(await client.create(response_model=Sight, **OPTIONS), Sight)
    found = client.create_iterable(response_model=Sight, **{**OPTIONS, "model": SCRIPTED})
    assert [type(one) async for one in found] == [Sight]


def test_what_does_not_fit_is_asked_for_again_with_the_reason() -> None:
    tries = []

    class Answer(BaseModel):
        city: str

        @field_validator("city")
        @classmethod
        def is_short(cls, value: str) -> str:
            tries.append(value)
            if len(tries) == 1:
                raise ValueError("say it again, as 'Bern'")
            return value

    messages: Any = [{"role": "user", "content": "Which city?"}]
    answer = client_of().create(model=SCRIPTED, messages=messages, response_model=Answer, max_retries=2)
    assert (len(tries), answer.city) == (2, tries[1])
