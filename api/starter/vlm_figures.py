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

from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn
from api.starter.cards import renew_card
from api.starter.talk.fallback_answers import DONT_KNOW, UNSEEN_NOUNS, question_about_unseen
from api.starter.talk.json_answers import request_for
from api.starter.talk.labelled_pictures import LabelledPicture, plain_shape_picture, sample_picture
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
AnswerFunction = Callable[[Sequence[tuple[LabelledPicture, str]]], list[str]]
"""Answers to questions about pictures, one for each."""


def held_out_questions(count: int, seed: int) -> list[tuple[LabelledPicture, Question]]:
    """One closed question for each picture, of a topic drawn from those that it allows, counts of four at most.

    Every second picture has a combination that training never saw.
    """
    rng = np.random.default_rng(seed)
    cases: list[tuple[LabelledPicture, Question]] = []
    while len(cases) < count:
        seen = sample_picture(rng, held_out=len(cases) % 2 == 0)
        questions = [one for one in closed_questions(seen, rng) if one.answer not in TOO_MANY]
        topic = pick(rng, sorted({one.topic for one in questions}))
        cases.append((seen, next(one for one in questions if one.topic == topic)))
    return cases


@torch.inference_mode()
def answers(
    vlm: Any, tokenizer: PreTrainedTokenizerFast, cases: Sequence[tuple[LabelledPicture, str]], most: int = 80
) -> list[str]:
    """The likeliest answer to each question about its picture."""
    processor, predicted = make_processor(tokenizer), []
    processor.tokenizer.padding_side = "left"
    for first in range(0, len(cases), BATCH):
        some = cases[first : first + BATCH]
        messages = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for _, text in some]
        texts = [processor.apply_chat_template(one, add_generation_prompt=True, tokenize=False) for one in messages]
        images = [[Image.fromarray(seen.pixels)] for seen, _ in some]
        inputs = processor(text=texts, images=images, return_tensors="pt", padding=True).to(vlm.device)
        written = vlm.generate(**inputs, max_new_tokens=most, do_sample=False)
        predicted += tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in predicted]


def exact_by_topic(predict: AnswerFunction, count: int, seed: int = SEED) -> dict[str, float]:
    """The share of answers that are right to the letter, for each of TOPICS and for 'all'."""
    cases = held_out_questions(count, seed)
    right: dict[str, list[bool]] = defaultdict(list)
    for (_, question), predicted in zip(cases, predict([(seen, q.text) for seen, q in cases]), strict=True):
        right[question.topic].append(predicted == question.answer)
        right["all"].append(predicted == question.answer)
    return {topic: float(np.mean(values)) for topic, values in right.items()}


def descriptions(predict: AnswerFunction, count: int) -> dict[str, float]:
    """Of held-out pictures: the share of main objects named, and of descriptions that are right to the letter."""
    rng = np.random.default_rng(SEED + 1)
    samples = [sample_picture(rng, held_out=place % 2 == 0) for place in range(count)]
    predicted = predict([(seen, "Describe this image.") for seen in samples])
    named = [[name.lower() in text.lower() for name in _names(seen)] for seen, text in zip(samples, predicted, strict=True)]
    exact = [text == describe(seen.facts) for seen, text in zip(samples, predicted, strict=True)]
    return {"named": float(np.mean([found for each in named for found in each])), "exact": float(np.mean(exact))}


def _names(seen: LabelledPicture) -> list[str]:
    named = main_objects(seen.facts)
    return [name if name != "day" else "by day" for name in named]


def pizzas(predict: AnswerFunction) -> dict[str, int]:
    """'What is in this image?' of ten pizzas and ten other pictures: in how many answers there is a pizza."""
    rng = np.random.default_rng(SEED + 2)
    samples: dict[bool, list[LabelledPicture]] = {True: [], False: []}
    while min(map(len, samples.values())) < 10:
        seen = sample_picture(rng)
        mine = samples[isinstance(seen.facts, Food) and seen.facts.dish == "pizza"]
        if len(mine) < 10:
            mine.append(seen)
    found = {name: predict([(seen, "What is in this image?") for seen in some]) for name, some in samples.items()}
    return {
        "pizzas": sum("pizza" in text.lower() for text in found[True]),
        "others": sum("pizza" in text.lower() for text in found[False]),
    }


def unknowns(predict: AnswerFunction, count: int) -> dict[str, float]:
    """Asked about things that no training named: the share that it says not to know; and of what it can answer, the same."""
    rng = np.random.default_rng(SEED + 3)
    cases = [(sample_picture(rng), question_about_unseen(pick(rng, UNSEEN_NOUNS), rng)) for _ in range(count)]
    admitted = float(np.mean([text == DONT_KNOW for text in predict(cases)]))
    known = [(seen, question.text) for seen, question in held_out_questions(count, SEED + 4)]
    return {"admitted": admitted, "needlessly": float(np.mean([text == DONT_KNOW for text in predict(known)]))}


def plain_shapes(predict: AnswerFunction, count: int) -> dict[str, float]:
    """Single shapes on white at any place and size: colour, form and JSON with both."""
    rng = np.random.default_rng(SEED + 5)
    samples = [plain_shape_picture(rng) for _ in range(count)]
    firsts: list[Any] = [seen.facts.first for seen in samples]  # type: ignore[union-attr]
    colours = predict([(seen, "What colour is it?") for seen in samples])
    forms = predict([(seen, "What shape is this?") for seen in samples])
    objects = predict([(seen, request_for({"shape": "", "color": ""}, rng)) for seen in samples])
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


def measure(predict: AnswerFunction, count: int) -> dict[str, Any]:
    return {
        "questions": count,
        "exact": exact_by_topic(predict, count),
        "descriptions": descriptions(predict, min(count, 300)),
        "pizzas": pizzas(predict),
        "unknowns": unknowns(predict, min(count, 300)),
        "plain": plain_shapes(predict, min(count, 200)),
    }


def quick_scores(vlm: Any, tokenizer: PreTrainedTokenizerFast) -> str:
    """While it trains: 300 questions of another seed than the evaluation's."""
    vlm.eval()
    shares = exact_by_topic(lambda cases: answers(vlm, tokenizer, cases, most=24), 300, SEED + 77)
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


def through(backend: Any, together: int = 8) -> AnswerFunction:
    """Asks as the server asks, so many chats at once."""

    def predict(cases: Sequence[tuple[LabelledPicture, str]]) -> list[str]:
        hearers = []
        for seen, text in cases:
            while backend.rows >= together:
                backend.step()
            turn = Turn("user", (MessagePart(image=Image.fromarray(seen.pixels)), MessagePart(text=text)))
            sampling = Sampling(temperature=0.0, max_tokens=120)
            hearers.append(Hearer())
            backend.admit(ChatRequest(model_id=NAME, turns=(turn,), sampling=sampling), hearers[-1])
        while backend.step():
            pass
        return [hearer.text for hearer in hearers]

    return predict


def evaluate(backends: dict[str, Any], count: int = 1000) -> dict[str, Any]:
    """The figures on the first backend, and the exact answers on each of the others; written beside the weights and into the card."""
    names = list(backends)
    first = through(backends[names[0]])
    started = time.monotonic()
    first([(plain_shape_picture(np.random.default_rng(SEED + place)), "What colour is it?") for place in range(20)])
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
