"""OpenAI's agents, over the API that they use with servers other than OpenAI's, and over the newer one."""

import openai
import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel
from shared import HAS_RESPONSES, REAL, SCRIPTED

set_tracing_disabled(True)
MODELS = [OpenAIChatCompletionsModel] + ([OpenAIResponsesModel] if HAS_RESPONSES else [])
pytestmark = pytest.mark.parametrize("model", MODELS)


class Weather(BaseModel):
    city: str
    degrees: int


@function_tool
def get_weather(city: str) -> str:
    """Get the weather of a city.

    Args:
        city: Its name.
    """
    return f"19 degrees in {city}"


def agent_of(model: type, name: str, **options: object) -> Agent:
    return Agent(name="Assistant", instructions="Be brief.", model=model(name, openai.AsyncOpenAI(max_retries=0)), **options)


async def test_an_agent_calls_a_tool_and_tells_what_it_said(model: type) -> None:
    agent = agent_of(model, SCRIPTED, tools=[get_weather])
    assert (await Runner.run(agent, "What is the weather in 'Bern'?")).final_output == "It said: 19 degrees in Bern"
    streamed = Runner.run_streamed(agent, "What is the weather in 'Bern'?")
    kinds = [event.item.type async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert kinds == ["tool_call_item", "tool_call_output_item", "message_output_item"]


async def test_an_agents_output_is_a_class(model: type) -> None:
    agent = agent_of(model, REAL, output_type=Weather, model_settings=ModelSettings(temperature=0, max_tokens=100))
    assert isinstance((await Runner.run(agent, "hello")).final_output, Weather)


async def test_an_agent_hands_over_to_another(model: type) -> None:
    other = agent_of(model, SCRIPTED, handoff_description="Knows the weather.")
    other.name = "Meteorologist"
    agent = agent_of(model, SCRIPTED, handoffs=[other])
    done = await Runner.run(agent, "Transfer me to the meteorologist.")
    assert done.last_agent is other
