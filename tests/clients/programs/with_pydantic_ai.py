"""Pydantic AI: an agent whose output is a class, by its tools and by a schema; its tools; its streams."""

from typing import Any

import pytest
from pydantic_ai import Agent, BinaryContent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from shared import PNG, REAL, SCRIPTED, Sight

SETTINGS: Any = {"temperature": 0, "max_tokens": 200}


@pytest.mark.parametrize("form", [Sight, ToolOutput(Sight), NativeOutput(Sight)], ids=["class", "tool", "native"])
async def test_an_agents_output_is_a_class(form: Any) -> None:
    agent = Agent(OpenAIChatModel(REAL), output_type=form, model_settings=SETTINGS)
    asked = ["What is in this image?", BinaryContent(PNG, media_type="image/png")]
    assert isinstance((await agent.run(asked)).output, Sight)
    async with agent.run_stream(asked) as stream:
        assert isinstance(await stream.get_output(), Sight)


async def test_an_agent_calls_a_tool_and_tells_what_it_said() -> None:
    agent = Agent(OpenAIChatModel(SCRIPTED), system_prompt="You are brief.")
    asked = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Get the weather of a city."""
        asked.append(city)
        return "19 degrees"

    first = await agent.run("What is the weather in 'Bern'?")
    assert (asked, first.output) == (["Bern"], "It said: 19 degrees")
    again = await agent.run("Thank you.", message_history=first.all_messages())
    assert again.output == "You said: Thank you."
    async with agent.run_stream("And the weather in 'Basel'?") as stream:
        assert "".join([piece async for piece in stream.stream_text(delta=True)]) == "It said: 19 degrees"
    assert asked == ["Bern", "Basel"]


async def test_a_plain_answer_streams() -> None:
    agent = Agent(OpenAIChatModel(REAL), model_settings={"temperature": 0, "max_tokens": 20})
    whole = (await agent.run("hello")).output
    async with agent.run_stream("hello") as stream:
        assert await stream.get_output() == whole
