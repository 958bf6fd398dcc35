"""What of a prompt is AUTOMATIC1111's notation. Here it is read as words, and whoever wrote it should know. No torch, no Django."""

import re
from collections.abc import Iterator

NETWORK = re.compile(r"<(?:lora|lyco|locon|hypernet)\s*:[^<>]+>", re.IGNORECASE)
BRACKET = re.compile(r"[()\[\]]")
WEIGHT = re.compile(r"(?P<words>.*\S)\s*:\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*", re.DOTALL)
COMPEL = re.compile(r"[+\-]|\d|\.(?:blend|and|swap|withLora|useLora)\(")
"""What follows a parenthesis that Compel reads."""
BREAK = re.compile(r"(?P<before>\S+)[\s,]+(?P<word>BREAK)[\s,]+(?P<after>\S+)")
CLOSING = {")": "(", "]": "["}
MOST_SHOWN, LONGEST_SHOWN = 3, 40


def find_notation(prompt: str) -> list[str]:
    """The pieces, in their order: `(red:1.5)`, `((red))`, `[red]`, `<lora:riso:1>`, `BREAK`. Ordinary parentheses are none."""
    found = [(match.start(), match[0]) for match in NETWORK.finditer(prompt)]
    found += [(match.start("word"), match["word"]) for match in BREAK.finditer(prompt) if is_separator(match)]
    found += find_brackets(prompt)
    return list(dict.fromkeys(piece for _, piece in sorted(found)))


def is_separator(match: "re.Match[str]") -> bool:
    """Among words in capitals BREAK is one of them."""
    return not any(len(word) > 1 and word.isupper() for word in (match["before"], match["after"]))


def find_brackets(prompt: str) -> Iterator[tuple[int, str]]:
    """The outermost of those that mean something to AUTOMATIC1111; a backslash makes a bracket a character."""
    opened: list[tuple[int, str]] = []
    pairs: dict[int, int] = {}
    covered = [False] * len(prompt)
    for match in BRACKET.finditer(prompt):
        start, mark = match.start(), match[0]
        if is_escaped(prompt, start):
            continue
        if mark not in CLOSING:
            opened.append((start, mark))
        elif opened and opened[-1][1] == CLOSING[mark]:
            pairs[opened.pop()[0]] = start
    for start in sorted(pairs):
        end = pairs[start]
        if not covered[start] and is_notation(prompt, start, end, pairs):
            covered[start : end + 1] = [True] * (end + 1 - start)
            yield start, prompt[start : end + 1]


def is_escaped(prompt: str, place: int) -> bool:
    before = prompt[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def is_notation(prompt: str, start: int, end: int, pairs: dict[int, int]) -> bool:
    inside = prompt[start + 1 : end]
    if not any(character.isalpha() for character in inside):
        return False
    is_doubled = prompt[start + 1] == "(" and pairs.get(start + 1) == end - 1 and not COMPEL.match(prompt, end + 1)
    return prompt[start] == "[" or is_doubled or is_weight(inside)


def is_weight(inside: str) -> bool:
    """`red:1.5`, but neither 16:9 nor half past ten: a whole number behind a number is a ratio, or a time."""
    match = WEIGHT.fullmatch(inside)
    if match is None or not any(character.isalpha() for character in match["words"]):
        return False
    return "." in match["number"] or not match["words"][-1].isdigit()


def describe_notation(field: str, prompt: str) -> str:
    """A sentence for the job's warnings; '' where there is nothing to say."""
    found = find_notation(prompt)
    if not found:
        return ""
    shown = ", ".join(shorten(piece) for piece in found[:MOST_SHOWN])
    more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    instead = " Adapters are named in `loras`." if any(NETWORK.fullmatch(piece) for piece in found) else ""
    return f"{field} has AUTOMATIC1111's notation, which is read as words here: {shown}{more}.{instead}"


def shorten(piece: str) -> str:
    return piece if len(piece) <= LONGEST_SHOWN else f"{piece[: LONGEST_SHOWN - 1]}…"
