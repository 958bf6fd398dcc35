"""What starter-vlm learns from is true, and is written as it will be asked."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from api.starter.talk.dialogues import Dialogue, dialogue
from api.starter.talk.fallback_answers import _NOUNS, UNSEEN_NOUNS
from api.starter.talk.json_answers import json_exchange
from api.starter.talk.labelled_pictures import LabelledPicture, counted_shapes, plain_shape_picture, sample_picture
from api.starter.talk.questions import TOPICS, closed_questions
from api.starter.talk.sentences import describe, main_objects
from api.starter.world import is_held_out
from api.starter.world.shapes import Shapes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def samples(rng: np.random.Generator, count: int) -> Iterator[LabelledPicture]:
    return (sample_picture(rng) for _ in range(count))


def test_no_question_has_two_answers(rng: np.random.Generator) -> None:
    topics = set()
    for seen in samples(rng, 150):
        answers: dict[str, str] = {}
        for _ in range(6):
            for question in closed_questions(seen, rng):
                topics.add(question.topic)
                assert answers.setdefault(question.text, question.answer) == question.answer, seen.facts
    assert topics == set(TOPICS)


def test_counts_are_those_of_the_facts(rng: np.random.Generator) -> None:
    for _ in range(100):
        shapes = counted_shapes(rng)
        asked = {
            q.text: q.answer for _ in range(8) for q in closed_questions(LabelledPicture(np.zeros((1, 1, 3)), shapes), rng)
        }
        total = shapes.first.count + (shapes.second.count if shapes.second else 0)
        words = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
        told = {asked[text] for text in asked if text in ("How many shapes are there?", "Count the shapes.")}
        assert told <= {f"{words[total]}."}


def test_training_sees_no_held_out_combination_and_the_evaluation_does(rng: np.random.Generator) -> None:
    assert not any(is_held_out(seen.facts) for seen in samples(rng, 300))
    assert all(is_held_out(sample_picture(rng, held_out=True).facts) for _ in range(20))
    assert not set(_NOUNS) & set(UNSEEN_NOUNS)


def test_a_plain_shape_lies_within_its_picture_where_it_is_said_to_be(rng: np.random.Generator) -> None:
    for _ in range(60):
        seen = plain_shape_picture(rng)
        rows, columns = np.nonzero((seen.pixels < 200).any(axis=2))
        middle = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
        assert ("left" in seen.place, "right" in seen.place) == (middle[0] < 45, middle[0] > 83), (seen.place, middle)
        assert ("top" in seen.place, "bottom" in seen.place) == (middle[1] < 45, middle[1] > 83), (seen.place, middle)
        assert (seen.pixels[[0, -1]] == 255).all()
        assert (seen.pixels[:, [0, -1]] == 255).all()
        assert isinstance(seen.facts, Shapes)


def test_a_description_names_the_main_objects(rng: np.random.Generator) -> None:
    for seen in samples(rng, 200):
        text = describe(seen.facts)
        assert text[0].isupper()
        assert text.endswith(".")
        assert all(name.lower() in text.lower() or f"{name}s" in text for name in main_objects(seen.facts)), (text, seen.facts)


def test_json_answers_are_json_with_the_keys_that_were_asked_for(rng: np.random.Generator) -> None:
    for seen in samples(rng, 200):
        asked, told = json_exchange(seen, rng)
        keys = list(json.loads(told))
        assert keys
        assert "Describe this picture as JSON." in asked or all(key in asked for key in keys), (asked, told)


@pytest.mark.models
@pytest.mark.parametrize("picture_first", [True, False])
def test_dialogues_are_written_as_the_processor_writes_them(rng: np.random.Generator, picture_first: bool) -> None:
    """Training and serving see the same tokens, whether the picture comes before the question or behind it."""
    from transformers import AutoProcessor

    from api.starter.training.vlm import Writer
    from api.starter.vlm import FOLDER

    processor = AutoProcessor.from_pretrained(FOLDER)
    seen = sample_picture(rng)
    given = Dialogue([seen], [("What is it?", "A lake."), ("Sure?", "Yes.")], False, "Answer briefly.", picture_first)
    row = Writer(processor.tokenizer).row(given)
    shown = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Answer briefly."}]},
        {"role": "user", "content": shown if picture_first else shown[::-1]},
        {"role": "assistant", "content": [{"type": "text", "text": "A lake."}]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
    ]
    text = processor.apply_chat_template(messages, tokenize=False)
    ids = processor(text=[text], images=[[Image.fromarray(seen.pixels)]])["input_ids"][0]
    assert row.ids == list(ids)
    learnt = processor.tokenizer.decode([token for token in row.labels if token >= 0])
    assert learnt == "A lake.<end_of_utterance>Yes.<end_of_utterance>"


@pytest.mark.models
def test_questions_that_stand_apart_dont_see_each_other(rng: np.random.Generator) -> None:
    """The logits of a packed question are those of the question alone."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from api.starter.training.vlm import Writer, make_batch
    from api.starter.vlm import FOLDER

    vlm = AutoModelForImageTextToText.from_pretrained(FOLDER, dtype=torch.float32).eval()
    writer = Writer(AutoProcessor.from_pretrained(FOLDER).tokenizer)
    seen = sample_picture(rng)
    exchanges = [("What is in this image?", "A lake."), ("What colour is it?", "Red.")]
    packed, alone = (Dialogue([seen], some) for some in (exchanges, exchanges[1:]))
    batch = [make_batch(writer, [given], np.random.default_rng(1)) for given in (packed, alone)]

    @torch.inference_mode()
    def last_logits(one: object) -> torch.Tensor:
        words = vlm.model.text_model.get_input_embeddings()(one.ids)  # type: ignore[attr-defined]
        inside = {"attention_mask": one.mask, "position_ids": one.positions}  # type: ignore[attr-defined]
        return vlm.lm_head(vlm.model.text_model(inputs_embeds=words, **inside).last_hidden_state)[0, -1]

    assert torch.allclose(last_logits(batch[0]), last_logits(batch[1]), atol=1e-3)


def test_every_sort_of_dialogue_comes_up(rng: np.random.Generator) -> None:
    made = [dialogue(rng) for _ in range(200)]
    assert {len(one.samples) for one in made} == {0, 1, 2}
    assert {one.apart for one in made} == {one.picture_first for one in made} == {True, False}
