"""How well starter-vlm answers, on pictures and questions that training never saw together."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from api.chat.backends.request import ChatRequest, Part, Sampling, Turn
from api.starter.cards import renew_card
from api.starter.talk.as_json import request_for
from api.starter.talk.asides import DONT_KNOW, UNSEEN_NOUNS, about
from api.starter.talk.looks import Look, look, plain_look
from api.starter.talk.names import NUMBERS, sentence
from api.starter.talk.questions import TOPICS, Question, closed_questions
from api.starter.talk.sentences import describe, main_objects
from api.starter.training import data
from api.starter.training.run import log
from api.starter.vlm import FOLDER, NAME, make_processor
from api.starter.world.food import Food
from api.starter.world.words import pick

BATCH = 50
SEED = data.EVALUATION_SEED
TOO_MANY = {sentence(number) for number in NUMBERS[5:]}
Tell = Callable[[Sequence[tuple[Look, str]]], list[str]]
"""Answers to questions about pictures, one for each."""


def held_out_questions(count: int, seed: int) -> list[tuple[Look, Question]]:
    """One closed question for each picture, of a topic drawn from those that it allows, counts of four at most.

    Every second picture has a combination that training never saw.
    """
    rng = np.random.default_rng(seed)
    asked: list[tuple[Look, Question]] = []
    while len(asked) < count:
        seen = look(rng, held_out=len(asked) % 2 == 0)
        questions = [one for one in closed_questions(seen, rng) if one.answer not in TOO_MANY]
        topic = pick(rng, sorted({one.topic for one in questions}))
        asked.append((seen, next(one for one in questions if one.topic == topic)))
    return asked


@torch.inference_mode()
def answers(vlm: Any, tokenizer: PreTrainedTokenizerFast, asked: Sequence[tuple[Look, str]], most: int = 80) -> list[str]:
    """The likeliest answer to each question about its picture."""
    processor, told = make_processor(tokenizer), []
    processor.tokenizer.padding_side = "left"
    for first in range(0, len(asked), BATCH):
        some = asked[first : first + BATCH]
        messages = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for _, text in some]
        texts = [processor.apply_chat_template(one, add_generation_prompt=True, tokenize=False) for one in messages]
        images = [[Image.fromarray(seen.pixels)] for seen, _ in some]
        inputs = processor(text=texts, images=images, return_tensors="pt", padding=True).to(vlm.device)
        written = vlm.generate(**inputs, max_new_tokens=most, do_sample=False)
        told += tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in told]


def exact_by_topic(tell: Tell, count: int, seed: int = SEED) -> dict[str, float]:
    """The share of answers that are right to the letter, for each of TOPICS and for 'all'."""
    asked = held_out_questions(count, seed)
    right: dict[str, list[bool]] = defaultdict(list)
    for (_, question), told in zip(asked, tell([(seen, q.text) for seen, q in asked]), strict=True):
        right[question.topic].append(told == question.answer)
        right["all"].append(told == question.answer)
    return {topic: float(np.mean(values)) for topic, values in right.items()}


def descriptions(tell: Tell, count: int) -> dict[str, float]:
    """Of held-out pictures: the share of main objects named, and of descriptions that are right to the letter."""
    rng = np.random.default_rng(SEED + 1)
    looks = [look(rng, held_out=place % 2 == 0) for place in range(count)]
    told = tell([(seen, "Describe this image.") for seen in looks])
    named = [[name.lower() in text.lower() for name in _names(seen)] for seen, text in zip(looks, told, strict=True)]
    exact = [text == describe(seen.facts) for seen, text in zip(looks, told, strict=True)]
    return {"named": float(np.mean([found for each in named for found in each])), "exact": float(np.mean(exact))}


def _names(seen: Look) -> list[str]:
    named = main_objects(seen.facts)
    return [name if name != "day" else "by day" for name in named]


def pizzas(tell: Tell) -> dict[str, int]:
    """'What is in this image?' of ten pizzas and ten other pictures: in how many answers there is a pizza."""
    rng = np.random.default_rng(SEED + 2)
    looks: dict[bool, list[Look]] = {True: [], False: []}
    while min(map(len, looks.values())) < 10:
        seen = look(rng)
        mine = looks[isinstance(seen.facts, Food) and seen.facts.dish == "pizza"]
        if len(mine) < 10:
            mine.append(seen)
    found = {name: tell([(seen, "What is in this image?") for seen in some]) for name, some in looks.items()}
    return {
        "pizzas": sum("pizza" in text.lower() for text in found[True]),
        "others": sum("pizza" in text.lower() for text in found[False]),
    }


def unknowns(tell: Tell, count: int) -> dict[str, float]:
    """Asked about things that no training named: the share that it says not to know; and of what it can answer, the same."""
    rng = np.random.default_rng(SEED + 3)
    asked = [(look(rng), about(pick(rng, UNSEEN_NOUNS), rng)) for _ in range(count)]
    admitted = float(np.mean([text == DONT_KNOW for text in tell(asked)]))
    known = [(seen, question.text) for seen, question in held_out_questions(count, SEED + 4)]
    return {"admitted": admitted, "needlessly": float(np.mean([text == DONT_KNOW for text in tell(known)]))}


def plain_shapes(tell: Tell, count: int) -> dict[str, float]:
    """Single shapes on white at any place and size: colour, form and JSON with both."""
    rng = np.random.default_rng(SEED + 5)
    looks = [plain_look(rng) for _ in range(count)]
    firsts: list[Any] = [seen.facts.first for seen in looks]  # type: ignore[union-attr]
    colours = tell([(seen, "What colour is it?") for seen in looks])
    forms = tell([(seen, "What shape is this?") for seen in looks])
    objects = tell([(seen, request_for({"shape": "", "color": ""}, rng)) for seen in looks])
    return {
        "colour": float(np.mean([t == f"{one.colour.capitalize()}." for t, one in zip(colours, firsts, strict=True)])),
        "form": float(np.mean([t == f"A {one.form}." for t, one in zip(forms, firsts, strict=True)])),
        "json": float(np.mean([_is_right(t, one) for t, one in zip(objects, firsts, strict=True)])),
    }


def _is_right(text: str, one: Any) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and {"shape": one.form, "color": one.colour}.items() <= found.items()


def measure(tell: Tell, count: int) -> dict[str, Any]:
    return {
        "questions": count,
        "exact": exact_by_topic(tell, count),
        "descriptions": descriptions(tell, min(count, 300)),
        "pizzas": pizzas(tell),
        "unknowns": unknowns(tell, min(count, 300)),
        "plain": plain_shapes(tell, min(count, 200)),
    }


def quick_look(vlm: Any, tokenizer: PreTrainedTokenizerFast) -> str:
    """While it trains: 300 questions of another seed than the evaluation's."""
    vlm.eval()
    shares = exact_by_topic(lambda asked: answers(vlm, tokenizer, asked, most=24), 300, SEED + 77)
    vlm.train()
    return ", ".join(f"{topic} {share:.2f}" for topic, share in sorted(shares.items()))


# ---------------------------------------------------------------- through a backend that serves


class Hearer:
    """Listens to one chat until it ends."""

    def __init__(self) -> None:
        self.text = ""

    def on_text(self, index: int, text: str, logprobs: list[dict[str, Any]]) -> None:
        self.text += text

    def cancelled(self) -> bool:
        return False

    def on_end(self, reply: Any) -> None:
        pass

    def on_error(self, error: Exception) -> None:
        raise error


def through(backend: Any, together: int = 8) -> Tell:
    """Asks as the server asks, so many chats at once."""

    def tell(asked: Sequence[tuple[Look, str]]) -> list[str]:
        hearers = []
        for seen, text in asked:
            while backend.rows >= together:
                backend.step()
            turn = Turn("user", (Part(image=Image.fromarray(seen.pixels)), Part(text=text)))
            sampling = Sampling(temperature=0.0, max_tokens=120)
            hearers.append(Hearer())
            backend.admit(ChatRequest(model_id=NAME, turns=(turn,), sampling=sampling), hearers[-1])
        while backend.step():
            pass
        return [hearer.text for hearer in hearers]

    return tell


def evaluate(backends: dict[str, Any], count: int = 1000) -> dict[str, Any]:
    """The figures on the first backend, and the exact answers on each of the others; written beside the weights and into the card."""
    names = list(backends)
    first = through(backends[names[0]])
    started = time.monotonic()
    first([(plain_look(np.random.default_rng(SEED + place)), "What colour is it?") for place in range(20)])
    seconds = (time.monotonic() - started) / 20
    log(f"measuring on {names[0]}: {count} questions and the rest")
    figures = measure(first, count) | {"seconds": seconds, "backends": {}}
    for name in names:
        exact = figures["exact"] if name == names[0] else exact_by_topic(through(backends[name]), count)
        figures["backends"][name] = exact["all"]
        log(f"{name}: {100 * exact['all']:.1f} % exact")
    (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    renew_card(FOLDER / "README.md", rows_of(figures))
    return figures


def rows_of(figures: dict[str, Any]) -> list[tuple[str, str]]:
    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    exact, said, plain = figures["exact"], figures["descriptions"], figures["plain"]
    topics = ", ".join(f"{topic} {percent(exact[topic])}" for topic in TOPICS if topic in exact)
    return [
        (
            f"{figures['questions']} closed questions, half of them on held-out pictures: right to the letter",
            percent(exact["all"]),
        ),
        ("of these", topics),
        ("the same on each backend", ", ".join(f"{name} {percent(share)}" for name, share in figures["backends"].items())),
        ("descriptions: main objects named; the whole sentence right", f"{percent(said['named'])}; {percent(said['exact'])}"),
        (
            "“What is in this image?”: answers with a pizza, of 10 pizzas and of 10 others",
            "{pizzas}; {others}".format(**figures["pizzas"]),
        ),
        (
            "asked about what it never saw: says that it doesn't know; needlessly so",
            f"{percent(figures['unknowns']['admitted'])}; {percent(figures['unknowns']['needlessly'])}",
        ),
        (
            "one plain shape on white: colour, form, both in JSON",
            ", ".join(percent(plain[name]) for name in ("colour", "form", "json")),
        ),
        ("a short question about a picture, with its answer", f"{1000 * figures['seconds']:.0f} ms"),
    ]
