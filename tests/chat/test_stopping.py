"""Text comes out in whole characters, and never with a stop string or the beginning of one."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.chat.backends.detokenizer import Detokenizer, StopFilter
from api.json_text import without_unkept
from tests.models.tiny_chat import SPECIAL, make_tokenizer

LETTERS = st.text("abc", max_size=40)
STOPS = st.lists(st.text("abc", min_size=1, max_size=5), max_size=4)
TOKENIZER = make_tokenizer(SPECIAL).backend_tokenizer


def said_of(pieces: list[str], stop: list[str]) -> str:
    stream = StopFilter(stop)
    return "".join(map(stream.push, pieces)) + stream.flush()


def test_a_stop_string_and_what_follows_it_are_cut_off() -> None:
    assert said_of(["one tw", "o ST", "OP three"], ["STOP"]) == "one two "


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    stream = StopFilter(["STOP"])
    assert [stream.push(piece) for piece in ("a S", "T", "x")] == ["a ", "", "STx"]


def test_of_two_stop_strings_the_first_in_the_text_counts() -> None:
    assert said_of(["a b c"], ["c", "b"]) == "a "


@pytest.mark.parametrize("pieces", [["aaaba"], ["aaab", "a"], list("aaaba")])
def test_of_two_that_overlap_the_one_that_is_complete_first_counts(pieces: list[str]) -> None:
    assert said_of(pieces, ["b", "aba"]) == "aaa"


def test_what_was_held_back_is_said_at_the_end() -> None:
    assert said_of(["a ST"], ["STOP"]) == "a ST"


@given(text=LETTERS, stop=STOPS, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_however_a_text_comes_in_pieces_the_same_is_said_and_no_stop_string_in_it(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    said = said_of(pieces, stop)
    found = [(text.find(word) + len(word), text.find(word)) for word in stop if word in text]
    assert said == (text[: min(found)[1]] if found else text)
    assert not any(word in said for word in stop)


@given(text=st.text(max_size=40))
def test_tokens_come_out_as_the_text_that_went_in(text: str) -> None:
    stream = Detokenizer(TOKENIZER, [])
    tokens = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert "".join(map(stream.push, tokens)) + stream.flush() == without_unkept(TOKENIZER.decode(tokens))


@given(tokens=st.lists(st.integers(0, TOKENIZER.get_vocab_size() - 1), max_size=60))
def test_any_tokens_come_out_as_the_tokenizer_decodes_them_at_once(tokens: list[int]) -> None:
    stream = Detokenizer(TOKENIZER, [])
    assert "".join(map(stream.push, tokens)) + stream.flush() == without_unkept(
        TOKENIZER.decode(tokens, skip_special_tokens=True)
    )


def test_half_a_character_is_held_back_until_the_other_half_comes() -> None:
    tokens = TOKENIZER.encode("é", add_special_tokens=False).ids
    stream = Detokenizer(TOKENIZER, [])
    assert [stream.push(token) for token in tokens] == ["", "é"]
