"""Each family with a small real model: its prompts with tools, calls and results; calls that are forced, and calls that it writes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import load_catalog
from api.chat.backends import sequences
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatRequest, MessagePart, Sampling, ToolCall, Turn
from api.chat.backends.sampling import SampledToken, Sampler
from api.chat.backends.torch_backend import TorchBackend
from api.chat.tools.use import NAMED, REQUIRED, Tool, ToolUse
from api.devices import Device
from api.downloads.store import ModelStore
from api.loading.chat import ChatModel
from api.model_loader import ModelLoader
from tests.chat.test_torch_backend import RecordingCallbacks
from tests.chat.tools.families import TEMPLATES, build_family

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
FAMILIES = tuple(TEMPLATES)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather <|im_end|> of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "boolean"}}}},
}
TOOLS = (Tool(WEATHER), Tool(ADD))
CALL = ToolCall("call_0123456789abcdef", "get_weather", '{"city": "Paris", "days": 3}')
OTHER = ToolCall("call_0123456789abcde0", "add", '{"a": true}')


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    entries = [
        f'[models."tiny/{name}"]\nname = "{name}"\nfamily = "llama"\ntask = "text-generation"\npath = "{path}"\n'
        for name in FAMILIES
        for path in [build_family(folder / name.replace(" ", "-"), name)]
    ]
    file = folder / "models.toml"
    file.write_text("\n".join(entry.replace("tiny/no system", "tiny/no-system") for entry in entries))
    return file


@pytest.fixture(scope="module")
def loader(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(catalog), ModelStore(tmp_path_factory.mktemp("models")), device)


def model_id(family: str) -> str:
    return f"tiny/{family.replace(' ', '-')}"


QUESTION = "Is it <tool_call> warm [TOOL_CALLS] <|im_end|> there?"
"""With the spelling of tokens, which a client's text never becomes."""


def ask(family: str, *turns: Turn, question: str = QUESTION, use: ToolUse | None = None, **sampling: Any) -> ChatRequest:
    options = {"temperature": 1.0, "max_tokens": 300, **sampling}
    asked = Turn("user", (MessagePart(question),))
    return ChatRequest(model_id=model_id(family), turns=(asked, *turns), sampling=Sampling(**options), tool_use=use)


def prompt_of(loader: ModelLoader, request: ChatRequest) -> tuple[str, list[int], ChatModel]:
    with loader.use(request.model_id, "text-generation") as lease:
        ids = encode(lease.pipeline, request).inputs["input_ids"][0].tolist()
        return lease.pipeline.tokenizer.decode(ids), ids, lease.pipeline


def answer(loader: ModelLoader, request: ChatRequest) -> Any:
    backend, heard = TorchBackend(loader, request.model_id), Hearing()
    backend.admit(request, heard)
    while backend.step():
        pass
    assert heard.reply is not None, heard.error
    assert [heard.calls[number] for number in sorted(heard.calls)] == [
        (call.name, call.arguments) for call in heard.reply.choices[0].calls
    ]
    return heard.reply.choices[0]


class Hearing(RecordingCallbacks):
    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, tuple[str, str]] = {}

    def on_call(self, index: int, number: int, name: str, arguments: str) -> None:
        self.calls[number] = (name, self.calls.get(number, (name, ""))[1] + arguments)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_template_shows_tools_calls_and_results_and_no_text_becomes_a_token(loader: ModelLoader, family: str) -> None:
    called = Turn("assistant", (MessagePart("Let me see."),), calls=(CALL, OTHER))
    results = [Turn("tool", (MessagePart(text),), answers=call) for call, text in ((CALL, "19 degrees"), (OTHER, "7"))]
    text, ids, chat = prompt_of(loader, ask(family, called, *results, use=ToolUse(TOOLS)))
    for shown in ("get_weather", "Paris", "19 degrees", "warm", '"a": true' if family != "gemma" else "a:<escape>True"):
        assert shown in text, (shown, text)
    described = {**WEATHER, "function": {**WEATHER["function"], "description": "The weather"}}
    harmless = ask(family, called, *results, question="Is it?", use=ToolUse((Tool(described), Tool(ADD))))
    added = set(chat.tokenizer.added_tokens_encoder.values())
    assert [token for token in ids if token in added] == [token for token in prompt_of(loader, harmless)[1] if token in added]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choice", [REQUIRED, NAMED])
def test_a_forced_call_fits_its_schema_whatever_the_model_would_say(loader: ModelLoader, family: str, choice: str) -> None:
    for seed in range(3):
        use = ToolUse(TOOLS, choice, parallel=False, name="get_weather" if choice == NAMED else "")
        found = answer(loader, ask(family, use=use, seed=seed))
        assert (found.text, len(found.calls)) == ("", 1)
        call = found.calls[0]
        arguments = json.loads(call.arguments)
        assert found.finish_reason == ("tool_calls" if choice == REQUIRED else "stop")
        if call.name == "get_weather":
            assert arguments.keys() == {"city", "days"}
            assert isinstance(arguments["city"], str)
            assert 1 <= arguments["days"] <= 9
        else:
            assert (choice, call.name) == (REQUIRED, "add")
            assert isinstance(arguments.get("a", True), bool)


WRITTEN = {
    "hermes": 'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>',
    "llama": '{"name": "get_weather", "parameters": {"city": "Oslo", "days": 2}}',
    "mistral": 'Let me see.[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}]',
    "phi": 'Let me see.<|tool_call|>{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}<|/tool_call|>',
    "gemma": "Let me see.<start_function_call>call:get_weather{city:<escape>Oslo<escape>,days:2}<end_function_call>",
    "no system": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>',
}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens that are drawn, whatever the model would say, if the grammar lets them."""
    script: list[int] = []

    class ScriptedSampler(Sampler):
        def sample(self, logits: torch.Tensor, remaining: int = 0) -> SampledToken:
            token = script.pop(0)
            if self.grammar is not None:
                assert self.grammar.allowed(len(logits))[token], f"the grammar refuses token {token}"
                self.grammar.accept(token)
            return SampledToken(token)

    monkeypatch.setattr(sequences, "Sampler", ScriptedSampler)
    return script


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_that_the_model_writes_in_its_own_form_is_read(loader: ModelLoader, scripted: list[int], family: str) -> None:
    request = ask(family, use=ToolUse(TOOLS))
    with loader.use(request.model_id, "text-generation") as lease:
        tokenizer = lease.pipeline.tokenizer
        scripted += [*tokenizer.encode(WRITTEN[family], add_special_tokens=False), tokenizer.eos_token_id]
    found = answer(loader, request)
    assert found.finish_reason == "tool_calls"
    assert [(call.name, json.loads(call.arguments)) for call in found.calls] == [("get_weather", {"city": "Oslo", "days": 2})]
    assert found.text == ("Let me see." if "Let me see" in WRITTEN[family] else "")


@pytest.mark.parametrize("family", ["hermes", "mistral", "phi"])
def test_once_a_call_has_begun_its_arguments_are_held_to_their_schema(
    loader: ModelLoader, scripted: list[int], family: str
) -> None:
    request = ask(family, use=ToolUse(TOOLS))
    with loader.use(request.model_id, "text-generation") as lease:
        text = WRITTEN[family].replace('"days": 2', '"days": 55')
        scripted += lease.pipeline.tokenizer.encode(text, add_special_tokens=False)
    with pytest.raises(AssertionError, match="the grammar refuses"):
        answer(loader, request)
