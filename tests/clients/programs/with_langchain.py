"""LangChain: its standard tests of a chat model, and what its users do with ChatOpenAI."""

import httpx
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from shared import ASKED, PNG, REAL, SCRIPTED, Sight

JUDGES = {
    "test_agent_loop": "has a tool called where nobody says that it must be",
    "test_json_mode": "names the keys of its JSON in the question alone",
    "test_tool_calling": "wants the question's number as the argument, and one call",
    "test_tool_calling_async": "the same",
    "test_tool_calling_with_no_arguments": "wants one call",
    "test_unicode_tool_call_integration": "wants the question's name as the argument",
}
"""Tests whose model must understand the question, and why. They have the scripted model; all others the starter model."""


class TestStandard(ChatModelIntegrationTests):
    """Left off: files (PDF), sound, pictures by other servers' addresses, and pictures in a tool's message, which OpenAI's chats don't take
    either; and recordings, which are for servers that cost money."""

    chat_model_class = ChatOpenAI  # type: ignore[assignment]
    chat_model_params = {"model": REAL, "max_tokens": 200, "max_retries": 0, "stream_usage": True}  # type: ignore[assignment]
    supports_image_inputs = True  # type: ignore[assignment]
    supports_json_mode = True  # type: ignore[assignment]
    supports_anthropic_inputs = True  # type: ignore[assignment]
    supports_model_override = True  # type: ignore[assignment]
    model_override_value = SCRIPTED  # type: ignore[assignment]

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        chosen = {"model": SCRIPTED} if request.node.originalname in JUDGES else {}
        return ChatOpenAI(**{**self.chat_model_params, **chosen})

    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The picture that these tests fetch from elsewhere is one of ours."""
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=PNG))


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_about_a_picture(method: str) -> None:
    """Both ways that ChatOpenAI has, of the starter model; both stream."""
    chat = ChatOpenAI(model=REAL, temperature=0, max_tokens=200).with_structured_output(Sight, method=method)
    asked = [{"role": "user", "content": ASKED}]
    assert isinstance(chat.invoke(asked), Sight)
    assert isinstance(list(chat.stream(asked))[-1], Sight)


def test_a_conversation_that_is_too_long_is_langchains_own_error() -> None:
    with pytest.raises(ContextOverflowError):
        ChatOpenAI(model=REAL, max_retries=0).invoke("far too long " * 2000)
