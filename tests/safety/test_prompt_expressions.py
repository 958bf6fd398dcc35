"""What a rule's expression matches, and which expressions can not be used."""

import time

import pytest

from api.safety.rules.matching import (
    TOO_SLOW,
    InvalidExpression,
    check_expression,
    compile_rule,
    readings,
)

DATABASE = pytest.mark.django_db(transaction=True)
ASYNC = {"Prefer": "respond-async"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "a kni"}, {"type": "text", "text": "fe"}]}
PATHS = ("/api/txt2img/", "/generate", "/v1/chat/completions")


def find(syntax: str, expression: str, *texts: str) -> str | None:
    return compile_rule(syntax, expression).find(readings(texts))


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("knife", "A KNIFE on a table", "knife"),
        ("knife", "two penknifes", None),
        ("knif*", "two knives, one knife", "knife"),
        ("red dress", "a red\n dress", "red dress"),
        ("red dress", "a red, dress", None),
        ("red dress", "1girl, red_dress, smile", "red dress"),
        ("knife", "a (knife:1.3), ((knife))", "knife"),
        ("knife", "a kn(if)e", "knife"),
        ("knife", "a kni\u200bfe", "knife"),  # a zero-width space
        ("knife", "a ｋｎｉｆｅ", "knife"),  # full-width letters
        ("knife", "a kni\ufe0ffe", "knife"),  # a variation selector
        ("knife", "a k\u034fnife", "knife"),  # a grapheme joiner
        ("knife", "a kn\u3164ife", "knife"),  # a filler, which is a letter
        ("knife", "a kni\x01fe", "knife"),
        ("knife", "a kni\ue000fe", "knife"),  # for private use
        ("knife", "a k\u0336n\u0336i\u0336fe", "knife"),  # struck through
        ("knife", "A KN\u0130FE", "knife"),  # a Turkish capital
        ("knife", "a knif\u0435", "knife"),  # a Cyrillic е
        ("knife", "a knіfe", "knife"),  # a Ukrainian і
        ("нож", "острый н\u006fж", "нож"),  # a Latin o
        ("нож", "острый нож", "нож"),
        ("cop", "сор", None),  # a Russian word of letters that all look Latin
        ("straße", "in der STRASSE", "strasse"),
        ("bỏ", "con bò", None),  # another word, which differs in a diacritic alone
        ("刀", "一把刀在桌上", "刀"),
        ("c++", "a book on C++.", "c++"),
        ("c++", "a c++ book", "c++"),
        ("one\ntwo words\n\n", "has two  words", "two  words"),
    ],
)
def test_words_are_found_as_people_write_them(expression: str, text: str, found: str | None) -> None:
    matched = find("words", expression, text)
    assert (matched and " ".join(matched.split())) == (found and " ".join(found.split()))


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        (r"\b(kill|murder)s?\b.{0,20}\bchild", "He kills the child", "kills the child"),
        (r"\b(?:knife){e<=1}\b", "a knive", "knive"),
        (r"\d{4} \d{4}", "call 1234 5678", "1234 5678"),
        (r"knife", "a fork", None),
    ],
)
def test_patterns_are_found(expression: str, text: str, found: str | None) -> None:
    assert find("pattern", expression, text) == found


@pytest.mark.parametrize(
    ("syntax", "expression", "said"),
    [
        ("words", " \n ", "at least one word"),
        ("words", "*", "end of a word"),
        ("words", "a*b", "end of a word"),
        ("words", "* a", "end of a word"),
        ("pattern", "(", "no regular expression"),
        ("pattern", "a{2", ""),
        ("pattern", "a*", "matches every prompt"),
        ("pattern", "(a+)+$", "takes too long"),
        ("pattern", r"^(\w+\s?)*$", "matches every prompt"),
        ("pattern", r"(a|a)+$", "takes too long"),
    ],
)
def test_an_expression_that_can_not_be_used_is_refused_when_it_is_written(syntax: str, expression: str, said: str) -> None:
    if not said:
        check_expression(syntax, expression)
        return
    with pytest.raises(InvalidExpression, match=said):
        check_expression(syntax, expression)


def test_a_pattern_that_turns_out_slow_is_stopped_and_counts_as_a_match() -> None:
    matcher = compile_rule("pattern", r"(x+x+)+y")
    started = time.thread_time()
    assert matcher.find(readings(["x" * 5_000] * 20)) == TOO_SLOW
    assert time.thread_time() - started < 2.0  # 0.1 s and what its length allows


def test_many_words_are_read_quickly_in_a_long_text() -> None:
    matcher = compile_rule("words", "\n".join(f"word{number}" for number in range(1000)))
    text = readings(["nothing of that kind is in it " * 10_000])
    started = time.thread_time()
    assert matcher.find(text) is None
    assert time.thread_time() - started < 5.0
