"""An answer's text, read as text and calls: every family's form, in pieces of any size, and what only looks like a call."""

import json
import random
from collections.abc import Sequence

import pytest

from api.chat.tools.calls import ArgumentsPiece, CallBegins, CallReader, Event, TextPiece, begun_name
from api.chat.tools.formats import FUNCTION_GEMMA, GEMMA, HERMES, LLAMA, MISTRAL, PHI, PLAIN, ToolFormat, format_of

NAMES = ("get_weather", "add")
PARIS = {"city": "Paris", "days": 3}
WEATHER = ("get_weather", PARIS)
BRACES = ("get_weather", {"city": 'a "quoted" } ] </tool_call> [TOOL_CALLS] \\', "days": 1})
ADD = ("add", {"a": 1, "b": -2.5, "deep": {"list": [1, {"x": None}], "yes": True}})
Call = tuple[str, object]


def read(tool_format: ToolFormat, pieces: Sequence[str]) -> tuple[str, list[Call]]:
    """The text, and the calls with their arguments as values."""
    reader = CallReader(tool_format, NAMES)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    return text_of(events), calls_of(events)


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def calls_of(events: Sequence[Event]) -> list[Call]:
    begun = [event for event in events if isinstance(event, CallBegins)]
    assert [event.number for event in begun] == list(range(len(begun)))
    texts = [
        "".join(event.text for event in events if isinstance(event, ArgumentsPiece) and event.number == one.number)
        for one in begun
    ]
    return [(one.name, json.loads(text)) for one, text in zip(begun, texts, strict=True)]


def as_json(call: Call, key: str = "arguments") -> str:
    return json.dumps({"name": call[0], key: call[1]})


def gemma(call: Call, quote: str) -> str:
    def value(of: object) -> str:
        if isinstance(of, str):
            return f"{quote}{of}{quote}"
        if isinstance(of, dict):
            return "{" + ",".join(f"{key}:{value(one)}" for key, one in of.items()) + "}"
        return "[" + ",".join(map(value, of)) + "]" if isinstance(of, list) else json.dumps(of)

    return f"call:{call[0]}{value(call[1])}"


ANSWERS = [
    (HERMES, f"<tool_call>\n{as_json(WEATHER)}\n</tool_call>", "", [WEATHER]),
    (
        HERMES,
        f"Let me see. <tool_call>{as_json(BRACES)}</tool_call>\n<tool_call>\n{as_json(ADD)}\n</tool_call>",
        "Let me see.",
        [BRACES, ADD],
    ),
    (HERMES, "<tool_call>" + json.dumps({"arguments": PARIS, "name": "get_weather"}) + "</tool_call>", "", [WEATHER]),
    (
        HERMES,
        "<tool_call>" + json.dumps({"name": "get_weather", "arguments": json.dumps(PARIS)}) + "</tool_call>",
        "",
        [WEATHER],
    ),
    (HERMES, '<tool_call>{"name": "add"}</tool_call>', "", [("add", {})]),
    (HERMES, f"<tool_call>\n{as_json(WEATHER)}", "", [WEATHER]),
    (LLAMA, as_json(BRACES, "parameters"), "", [BRACES]),
    (LLAMA, f"<|python_tag|>{as_json(WEATHER, 'parameters')}; {as_json(ADD, 'parameters')}", "", [WEATHER, ADD]),
    (LLAMA, json.dumps({"type": "function", "function": {"name": "add", "parameters": {}}}), "", [("add", {})]),
    (MISTRAL, f"[TOOL_CALLS] [{as_json(WEATHER)}, {as_json(BRACES)}]", "", [WEATHER, BRACES]),
    (MISTRAL, f"[TOOL_CALLS]get_weather[ARGS]{json.dumps(PARIS)}[TOOL_CALLS]add{json.dumps(ADD[1])}", "", [WEATHER, ADD]),
    (PHI, f"<|tool_call|>{as_json(WEATHER)}<|/tool_call|><|tool_call|>[{as_json(ADD)}]<|/tool_call|>", "", [WEATHER, ADD]),
    (PHI, f"functools[{as_json(WEATHER)}, {as_json(ADD)}]", "", [WEATHER, ADD]),
    (GEMMA, f"<|tool_call>{gemma(BRACES, chr(60) + '|' + chr(34) + '|>')}<tool_call|>", "", [BRACES]),
    (FUNCTION_GEMMA, f"So: <start_function_call>{gemma(ADD, '<escape>')}<end_function_call>", "So:", [ADD]),
    (PLAIN, f"```json\n{as_json(WEATHER)}\n```", f"```json\n{as_json(WEATHER)}\n```", []),
    (PLAIN, f"\n{as_json(WEATHER)}", "", [WEATHER]),
    (PLAIN, f"[{as_json(WEATHER)}, {as_json(ADD)}]", "", [WEATHER, ADD]),
]
TEXTS = [
    (HERMES, "It is 3 < 4, and <tool is no mark."),
    (HERMES, '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
    (HERMES, "<tool_call>not JSON at all</tool_call> and on"),
    (HERMES, "<tool_call></tool_call>"),
    (HERMES, as_json(WEATHER)),
    (HERMES, "  spaces, and lines\n\n stay \n"),
    (LLAMA, '{"name": "Bob", "age": 7} is he.'),
    (LLAMA, '{"nam'),
    (LLAMA, '{"city": "Paris"}'),
    (MISTRAL, "[TOOL_CALLS] I don't know"),
    (MISTRAL, '[TOOL_CALLS] [{"name": "unknown"}] so'),
    (GEMMA, "<|tool_call>call:unknown{}<tool_call|>"),
    (FUNCTION_GEMMA, "<start_function_call>call:add{a:<end_function_call>"),
    (PLAIN, "{ it begins like one"),
]


def in_pieces(text: str, seed: int) -> list[str]:
    chance = random.Random(seed)
    places = sorted(chance.sample(range(1, len(text)), chance.randint(1, len(text) - 1))) if len(text) > 1 else []
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize("cut", ["whole", "characters", *range(8)])
def test_calls_and_text_are_told_apart_in_pieces_of_any_size(cut: str | int) -> None:
    for tool_format, answer, text, calls in ANSWERS:
        pieces = {"whole": [answer], "characters": list(answer)}.get(str(cut)) or in_pieces(answer, int(cut))
        assert read(tool_format, pieces) == (text, calls), (tool_format.name, pieces)


@pytest.mark.parametrize("cut", ["whole", "characters", *range(8)])
def test_what_only_looks_like_a_call_is_text_unchanged(cut: str | int) -> None:
    for tool_format, answer in TEXTS:
        pieces = {"whole": [answer], "characters": list(answer)}.get(str(cut)) or in_pieces(answer, int(cut))
        assert read(tool_format, pieces) == (answer, []), (tool_format.name, pieces)


@pytest.mark.parametrize(
    ("written", "name"),
    [('{"na', ""), ('<tool_call>{"name": "make_pic', ""), ('{"name": "make_picture", "argu', "make_picture")],
)
def test_the_name_of_a_call_that_broke_off(written: str, name: str) -> None:
    assert begun_name(written) == name


def test_arguments_come_as_they_are_written() -> None:
    reader = CallReader(HERMES, NAMES)
    assert reader.feed('<tool_call>\n{"name": "get_weather", "argu') == []
    assert reader.feed('ments": {"ci') == [CallBegins(0, "get_weather"), ArgumentsPiece(0, '{"ci')]
    assert reader.feed('ty": "a}') == [ArgumentsPiece(0, 'ty": "a}')]
    assert reader.feed('"}}\n</tool') == [ArgumentsPiece(0, '"}')]
    assert reader.feed("_call>") + reader.finish() == []


def test_a_call_that_broke_off_keeps_what_came_of_its_arguments() -> None:
    reader = CallReader(HERMES, NAMES)
    events = reader.feed('<tool_call>{"name": "add", "arguments": {"a": 1, "b') + reader.finish()
    assert events == [CallBegins(0, "add"), ArgumentsPiece(0, '{"a": 1, "b')]


@pytest.mark.parametrize(
    "rest", ["\n</tool_c", "\n</tool_call>\n<tool", "</tool_call><tool_call>", '\n<tool_call>\n{"name": "ad', "</tool_call>\n"]
)
def test_what_breaks_off_behind_a_call_is_no_text(rest: str) -> None:
    assert read(HERMES, [f"<tool_call>\n{as_json(ADD)}", rest]) == ("", [ADD])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, PLAIN),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", PLAIN),
        ("{% if tools %}<tool_call>{% endif %}", HERMES),
        ("{% if tools %}[TOOL_CALLS]{% endif %}", MISTRAL),
        ("{% if tools %}<|python_tag|>{% endif %}", LLAMA),
        ("{% if tools %}<|tool_call|>{% endif %}", PHI),
        ("{% if tools %}<|tool_call>{% endif %}", GEMMA),
        ("{% if tools %}<start_function_call>{% endif %}", FUNCTION_GEMMA),
        ("{% if tools %}{{ tools }}{% endif %}", HERMES),
    ],
)
def test_the_form_is_known_by_the_template(template: str | None, expected: ToolFormat) -> None:
    assert format_of(template) is expected
