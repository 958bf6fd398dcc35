"""AUTOMATIC1111's documented rules of brackets, read character by character and as slowly as they are written: for comparison alone."""

from __future__ import annotations

import re

NUMBER = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)")


def read(prompt: str) -> list[list[tuple[str, float]]]:
    """Segments between BREAKs, of characters with their weights."""
    characters: list[list[object]] = []
    round_brackets: list[int] = []
    square_brackets: list[int] = []

    def multiply(start: int, factor: float) -> None:
        for character in characters[start:]:
            character[1] = float(character[1]) * factor  # type: ignore[arg-type]

    place = 0
    while place < len(prompt):
        character = prompt[place]
        number = NUMBER.match(prompt, place)
        if character == "\\":
            if prompt[place + 1 : place + 2] in ("(", ")", "[", "]", "\\"):
                characters.append([prompt[place + 1], 1.0])
                place += 1
        elif character == "(":
            round_brackets.append(len(characters))
        elif character == "[":
            square_brackets.append(len(characters))
        elif number and round_brackets:
            multiply(round_brackets.pop(), float(number[1]))
            place = number.end() - 1
        elif character == ")" and round_brackets:
            multiply(round_brackets.pop(), 1.1)
        elif character == "]" and square_brackets:
            multiply(square_brackets.pop(), 1 / 1.1)
        elif word := re.compile(r"(?<!\w)BREAK(?!\w)").match(prompt, place):
            characters.append(["BREAK", 1.0])
            place = word.end() - 1
        else:
            characters.append([character, 1.0])
        place += 1
    for start in round_brackets:
        multiply(start, 1.1)
    for start in square_brackets:
        multiply(start, 1 / 1.1)
    segments: list[list[tuple[str, float]]] = [[]]
    for text, weight in characters:
        if text == "BREAK":
            segments.append([])
        else:
            segments[-1].append((str(text), float(weight)))  # type: ignore[arg-type]
    return segments
