"""llm's command line, with its file of servers that speak OpenAI's API."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from llm.cli import cli
from shared import PNG, REAL, SCRIPTED

MODELS = """
- model_id: ours
  model_name: {real}
  api_base: {url}
  api_key_name: darkroom
  vision: true
  supports_schema: true
  supports_tools: true
- model_id: told
  model_name: {scripted}
  api_base: {url}
  api_key_name: darkroom
  supports_tools: true
  supports_schema: true
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODELS.format(real=REAL, scripted=SCRIPTED, url=os.environ["OPENAI_BASE_URL"])
    (tmp_path / "extra-openai-models.yaml").write_text(text)
    (tmp_path / "keys.json").write_text(json.dumps({"darkroom": os.environ["OPENAI_API_KEY"]}))
    (tmp_path / "red.png").write_bytes(PNG)
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def llm(*arguments: str) -> str:
    """What it prints. Not as a process of its own, each of which takes two seconds to begin."""
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_a_prompt_streams_and_goes_on() -> None:
    options = ("-m", "ours", "-o", "temperature", "0", "-o", "max_tokens", "20")
    assert llm(*options, "hello") == llm(*options, "hello", "--no-stream") != ""
    assert llm("-c", "-m", "told", "And now?") == "You said: And now?"


def test_a_picture_is_answered_under_a_schema() -> None:
    answer = llm("-m", "ours", "-a", "red.png", "--schema", "color, count int", "-o", "max_tokens", "100", "What is it?")
    assert json.loads(answer).keys() == {"color", "count"}


def test_a_tool_is_called() -> None:
    tool = "def get_weather(city: str) -> str:\n    'Get the weather.'\n    return '19 degrees in ' + city"
    assert llm("-m", "told", "--functions", tool, "What is the weather in 'Bern'?") == "It said: 19 degrees in Bern"
