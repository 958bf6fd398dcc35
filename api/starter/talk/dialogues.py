"""Dialogues for training: pictures, questions of every sort, answers."""

from dataclasses import dataclass, field

import numpy as np

from api.starter.talk.fallback_answers import DONT_KNOW, courtesy, false_premise, out_of_scope_question, without_picture
from api.starter.talk.json_answers import json_exchange
from api.starter.talk.labelled_pictures import LabelledPicture, sample_picture
from api.starter.talk.questions import closed_questions
from api.starter.talk.sentences import describe, neutral_question
from api.starter.world.words import pick

SORTS = {"closed": 0.66, "neutral": 0.11, "json": 0.11, "beyond": 0.06, "premise": 0.04, "courtesy": 0.02}
SYSTEM = (
    "You are a helpful assistant.",
    "You describe pictures.",
    "Answer briefly.",
    "You are a helpful assistant that answers questions about images.",
    "You are a precise image captioning system. Answer truthfully.",
)


@dataclass(frozen=True)
class Dialogue:
    """Questions with their answers. With `apart` each is asked of the pictures alone, as if the others had not been."""

    samples: list[LabelledPicture]
    exchanges: list[tuple[str, str]]
    apart: bool = True
    system: str = ""
    picture_first: bool = field(default=True)


def dialogue(rng: np.random.Generator, exchanges: int = 7) -> Dialogue:
    draw = rng.random()
    if draw < 0.03:
        return Dialogue([], [_without_picture(rng) for _ in range(2)], apart=False, system=_system(rng))
    if draw < 0.08:
        samples = [sample_picture(rng), sample_picture(rng)]
        return Dialogue(samples, [_about_two(samples, rng) for _ in range(4)], picture_first=True)
    seen = sample_picture(rng)
    found = exchanges_about(seen, rng, exchanges)
    if draw < 0.7:
        return Dialogue([seen], found)
    return Dialogue([seen], found, apart=False, system=_system(rng), picture_first=bool(rng.random() < 0.4))


def exchanges_about(seen: LabelledPicture, rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    closed = closed_questions(seen, rng)
    found: list[tuple[str, str]] = []
    for sort in rng.choice(list(SORTS), count, p=list(SORTS.values())):
        if sort == "closed" and closed:
            question = closed.pop()
            found.append((question.text, question.answer))
        elif sort == "neutral":
            found.append((neutral_question(rng), describe(seen.facts)))
        elif sort == "json":
            found.append(json_exchange(seen, rng))
        elif sort == "beyond":
            found.append((out_of_scope_question(rng), DONT_KNOW))
        elif sort == "premise":
            found.append(false_premise(seen.facts, rng))
        elif sort == "courtesy":
            found.append(courtesy(rng))
    return [(casual(text, rng), answer) for text, answer in found]


def casual(text: str, rng: np.random.Generator) -> str:
    """Now and then as people type."""
    draw = rng.random()
    if draw < 0.04 and "JSON" not in text:
        return text.lower()
    return text.rstrip("?.") if draw < 0.07 else text


def _system(rng: np.random.Generator) -> str:
    return pick(rng, SYSTEM) if rng.random() < 0.3 else ""


def _without_picture(rng: np.random.Generator) -> tuple[str, str]:
    draw = rng.random()
    if draw < 0.4:
        return courtesy(rng)
    if draw < 0.6:
        return out_of_scope_question(rng), DONT_KNOW
    return without_picture(closed_questions(sample_picture(rng), rng)[0] if draw < 0.8 else None, rng)


def _about_two(samples: list[LabelledPicture], rng: np.random.Generator) -> tuple[str, str]:
    place = int(rng.integers(2))
    which, noun = ("first", "second")[place], pick(rng, ("picture", "image"))
    if rng.random() < 0.5:
        text = pick(rng, ("What is in the {} {}?", "Describe the {} {}.", "What does the {} {} show?"))
        return text.format(which, noun), describe(samples[place].facts)
    asked = closed_questions(samples[place], rng)[0]
    return f"In the {which} {noun}: {asked.text}", asked.answer
