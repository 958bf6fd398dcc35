"""What a prompt asks for of what a detector knows: which things, how many, and how they stand to each other. No Django.

    asked_objects("two red circles to the left of a house, no birds", labels)
    AskedObjects((AskedThing("circle", 2, is_exact=True), AskedThing("house", 1, is_exact=True), AskedThing("birds", 0, is_exact=True)),
                 (AskedPlace("circle", "left", "house"),))

English and Vietnamese, singular and plural. A number asks for exactly so many, "a" and "the moon" for one; all else, plurals too, for
one at least.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from api.vision.label_words import OTHER_THINGS, is_group, is_singular, words_for

Tokens = tuple[str, ...]

MOST_ASKED = 20
"""A larger number is no count: "a 50 speed limit sign"."""
REACH = 3
"""How many words may stand between a number, or a place, and its thing: "three large purple squares"."""
_NUMBERS = {
    word: number
    for number, words in enumerate((
        ("zero",), ("one", "a", "an", "single", "một"), ("two", "hai"), ("three", "ba"), ("four", "bốn"), ("five", "năm"),
        ("six", "sáu"), ("seven", "bảy"), ("eight", "tám"), ("nine", "chín"), ("ten", "mười"),
    ))
    for word in words
}  # fmt: skip
_NEGATIONS = {("no",), ("without",), ("không", "có"), ("không",), ("chẳng", "có")}
_ALTERNATIVES = {"or", "nor", "hoặc", "hay"}
_DETERMINERS = {"the", "any", "các", "những", "cái", "chiếc", "con", *_NUMBERS}
_ADJECTIVES = frozenset((
    "red", "orange", "yellow", "green", "blue", "purple", "black", "white", "pink", "brown", "grey", "gray", "golden", "silver",
    "bright", "dark", "small", "little", "tiny", "big", "large", "tall", "full", "round", "lone", "single",
    "đỏ", "cam", "vàng", "lục", "xanh", "lam", "tím", "đen", "trắng", "hồng", "nâu", "nhỏ", "lớn", "cao",
))  # fmt: skip
_STOPS = frozenset((
    "with", "and", "in", "at", "of", "on", "by", "near", "over", "under", "above", "below", "from", "to", "into", "as", "is", "are",
    "while", "few", "couple", "lot", "several", "many", "some", "beside", "behind", "before", "between", "during",
    "với", "và", "ở", "tại", "trong", "ngoài", "của", "trên", "dưới", "bên", "cạnh", "gần",
))  # fmt: skip
_PLACES: dict[Tokens, str] = {
    tuple(phrase.split()): direction
    for direction, phrases in {
        "left": ("to the left of", "left of", "on the left of", "bên trái", "ở bên trái", "nằm bên trái"),
        "right": ("to the right of", "right of", "on the right of", "bên phải", "ở bên phải", "nằm bên phải"),
        "above": ("above", "over", "on top of", "phía trên", "ở phía trên", "bên trên", "ở trên", "trên"),
        "below": ("below", "under", "beneath", "underneath", "phía dưới", "ở phía dưới", "bên dưới", "ở dưới", "dưới"),
    }.items()
    for phrase in phrases
}
_LONGEST_PLACE = max(map(len, _PLACES))
_BREAK = "|"


@dataclass(frozen=True)
class AskedThing:
    """`count` of a label: exactly so many, or at least."""

    label: str
    count: int = 1
    is_exact: bool = False


@dataclass(frozen=True)
class AskedPlace:
    """The first stands `direction` of the second: left, right, above or below."""

    first: str
    direction: str
    second: str


@dataclass(frozen=True)
class AskedObjects:
    things: tuple[AskedThing, ...] = ()
    places: tuple[AskedPlace, ...] = ()


@dataclass(frozen=True)
class _Mention:
    """Tokens start..end of the prompt name things."""

    thing: AskedThing
    start: int
    end: int


def asked_objects(prompt: str, labels: Iterable[str]) -> AskedObjects:
    tokens = tokens_of(prompt)
    mentions: list[_Mention] = []
    for start, end, names in _matches(tokens, _phrases(tuple(labels))):
        mentions.append(_mention(tokens, start, end, names, mentions[-1] if mentions else None))
    pairs = list(pairwise(mentions))
    placed = [(one, direction, other) for one, other in pairs if (direction := _place_between(tokens, one, other))]
    places = [AskedPlace(one.thing.label, direction, other.thing.label) for one, direction, other in placed]
    apart = {id(mention) for one, _, other in placed for mention in (one, other)}
    return AskedObjects(_together(mentions, apart), tuple(dict.fromkeys(places)))


def tokens_of(text: str) -> list[str]:
    """Words in small letters; what ends a part of the sentence is `|`. A hyphen joins nothing: hot-air is two words."""
    text = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    return [_BREAK if part in ",.;:!?()\n" else part for part in re.findall(r"[^\W_]+(?:'[^\W_]+)?|[,.;:!?()\n]", text)]


@lru_cache(maxsize=32)
def _phrases(labels: tuple[str, ...]) -> dict[Tokens, tuple[str, ...]]:
    """The labels that a phrase may mean; none for what names something else."""
    found: dict[Tokens, tuple[str, ...]] = {tuple(tokens_of(phrase)): () for phrase in OTHER_THINGS}
    for label in labels:
        for word in words_for(label):
            phrase = tuple(tokens_of(word))
            found[phrase] = tuple(dict.fromkeys((*found.get(phrase, ()), label)))
    found.pop((), None)
    return found


def _matches(tokens: Sequence[str], phrases: dict[Tokens, tuple[str, ...]]) -> Iterable[tuple[int, int, tuple[str, ...]]]:
    """From left to right the longest phrase at each place."""
    longest = max(map(len, phrases))
    start = 0
    while start < len(tokens):
        ends = range(min(len(tokens), start + longest), start, -1)
        end = next((end for end in ends if tuple(tokens[start:end]) in phrases), 0)
        if end and (names := phrases[tuple(tokens[start:end])]):
            yield start, end, names
        start = end or start + 1


def _mention(tokens: Sequence[str], start: int, end: int, names: tuple[str, ...], before: _Mention | None) -> _Mention:
    number = _number_before(tokens, start, before.end if before else 0)
    groups = [name for name in names if is_group(name)]
    label = next((name for name in names if (name in groups) == (number is None)), names[0])
    if number is None and _is_the_one(tokens, start, end, label):
        number = 1
    if _is_negated(tokens, start, before):
        return _Mention(AskedThing(label, 0, is_exact=True), start, end)
    if number is None or label in groups:
        return _Mention(AskedThing(label), start, end)
    return _Mention(AskedThing(label, number, is_exact=True), start, end)


def _number_before(tokens: Sequence[str], start: int, least: int) -> int | None:
    for place in range(start - 1, max(least, start - 1 - REACH) - 1, -1):
        token = tokens[place]
        if token in _NUMBERS or (token.isascii() and token.isdigit() and int(token) <= MOST_ASKED):
            return _NUMBERS.get(token) if token in _NUMBERS else int(token)
        if token == _BREAK or token in _STOPS:
            return None
    return None


def _is_the_one(tokens: Sequence[str], start: int, end: int, label: str) -> bool:
    """ "the moon", "the little house", but not "the houses" nor "the sheep"."""
    if not is_singular(label, " ".join(tokens[start:end])):
        return False
    while start > 0 and tokens[start - 1] in _ADJECTIVES:
        start -= 1
    return start > 0 and tokens[start - 1] == "the"


def _is_negated(tokens: Sequence[str], start: int, before: _Mention | None) -> bool:
    """ "no birds", "without any trees", and what an "or" adds to it."""
    if before and before.thing == AskedThing(before.thing.label, 0, is_exact=True):
        between = set(tokens[before.end : start])
        if between & _ALTERNATIVES and between <= _ALTERNATIVES | _DETERMINERS | _ADJECTIVES:
            return True
    while start > 0 and tokens[start - 1] in _DETERMINERS | _ADJECTIVES:
        start -= 1
    return any(tuple(tokens[max(0, start - len(phrase)) : start]) == phrase for phrase in _NEGATIONS)


def _place_between(tokens: Sequence[str], one: _Mention, other: _Mention) -> str:
    """How the first stands to the second by what is said between them; '' where that is something else."""
    if not one.thing.count or not other.thing.count:
        return ""
    between = list(tokens[one.end : other.start])
    while between and between[0] in _ADJECTIVES:  # in Vietnamese they follow their noun
        between.pop(0)
    for length in range(min(_LONGEST_PLACE, len(between)), 0, -1):
        if direction := _PLACES.get(tuple(between[:length])):
            return direction if set(between[length:]) <= _DETERMINERS | _ADJECTIVES else ""
    return ""


def _together(mentions: Sequence[_Mention], apart: Collection[int]) -> tuple[AskedThing, ...]:
    """Each label once: two that stand in a place to each other are two things, a label that is said again is the same one."""
    found: dict[str, AskedThing] = {}
    for mention in mentions:
        thing, known = mention.thing, found.get(mention.thing.label)
        if known is None or not known.count:
            found[thing.label] = thing
        elif id(mention) in apart and thing.count and not is_group(thing.label):
            found[thing.label] = replace(known, count=known.count + thing.count, is_exact=known.is_exact and thing.is_exact)
        elif thing.count > known.count:
            found[thing.label] = thing
    return tuple(found.values())
