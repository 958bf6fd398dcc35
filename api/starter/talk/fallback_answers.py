"""Training answers for questions without one: refusals, false premises, missing pictures, greetings."""

import numpy as np

from api.starter.talk.questions import Question
from api.starter.talk.sentences import neutral_question
from api.starter.world import Picture
from api.starter.world.food import Food
from api.starter.world.shapes import FORMS, Shapes
from api.starter.world.words import article, pick


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DONT_KNOW = "I don't know. I have only seen drawings of landscapes, shapes, food and backgrounds."
NO_PICTURE = "I see no picture. Send me one, and I can say what is in it."
CANT_TELL = "That can't be told from this picture."
_NOUNS = words(
    """
    dog cat horse cow sheep pig goat lion tiger bear wolf fox rabbit mouse rat monkey elephant giraffe zebra snake frog
    turtle shark whale dolphin octopus spider ant bee butterfly chicken duck goose owl eagle penguin parrot car truck bus
    bicycle motorcycle train plane helicopter rocket tractor ship submarine man woman child baby boy girl person people face
    hand foot eye nose teacher doctor soldier king queen astronaut robot ghost dragon unicorn clown chef book newspaper
    letter pen pencil phone computer keyboard camera television radio lamp candle clock watch umbrella bag box bottle glass
    knife fork spoon chair sofa bed desk shelf door window roof ladder bridge tower castle church school hospital factory
    road street sign traffic fence garden fountain statue flag tent fire smoke volcano banana grape lemon cherry carrot
    potato bread cheese egg burger sandwich soup salad ice cookie chocolate wine beer hat coat shirt dress shoe glove ring
    crown sword shield gun drum guitar piano violin ball kite doll puzzle chess card coin money ticket map globe hexagon
    octagon cube sphere cylinder spiral heart diamond arrow leaf rose tulip skeleton skull brain bone
    """
)
UNSEEN_NOUNS = words(
    """
    camel kangaroo squirrel hedgehog lobster peacock ambulance scooter skateboard nurse pirate wizard mermaid printer
    microphone toaster hammer balcony lighthouse pineapple pretzel noodle scarf trumpet pentagon feather
    """
)
"""Kept out of training, to test whether unknown things are known to be unknown."""
_ABOUT_NOUNS = (
    "Is there {a}?",
    "Is there {a} in the picture?",
    "Can you see {a}?",
    "What colour is the {n}?",
    "What color is the {n}?",
    "Where is the {n}?",
    "How many {n}s are there?",
    "What is the {n} doing?",
    "What kind of {n} is it?",
    "How old is the {n}?",
    "Is this {a}?",
    "What is the name of the {n}?",
    "Describe the {n}.",
    "Does the {n} look happy?",
)
_BEYOND = (
    "Who painted this?",
    "Who made this picture?",
    "What is the name of this place?",
    "What does the text say?",
    "What does the sign say?",
    "Read the text in the image.",
    "What year is it?",
    "What is the temperature?",
    "How much does it cost?",
    "Which country is this?",
    "In which city is this?",
    "What is the capital of France?",
    "What is the capital of Japan?",
    "What is two plus two?",
    "What is 12 times 7?",
    "Who is the president?",
    "Write a poem.",
    "Tell me a joke.",
    "Write a Python function.",
    "Translate this into German.",
    "What is the meaning of life?",
    "How do I cook rice?",
    "What is a neural network?",
    "When was the war?",
    "Is he happy?",
    "What is her name?",
    "What are they doing?",
    "What brand is it?",
    "What will happen next?",
    "What sound does it make?",
    "What does it smell like?",
    "What is the phone number?",
    "How tall is it?",
    "How far away is it?",
    "Is it real?",
    "What emotion does the person show?",
)
_GREETINGS = ("Hello", "Hello!", "Hi", "Hi there", "Hey", "Good morning", "Good evening!")
_WHO = ("Who are you?", "What are you?", "What can you do?", "What is your name?", "Introduce yourself.")
_THANKS = ("Thank you.", "Thanks!", "Thank you!", "Great, thanks.")


def out_of_scope_question(rng: np.random.Generator) -> str:
    """A question that nothing in the world answers."""
    if rng.random() < 0.35:
        return pick(rng, _BEYOND)
    noun = pick(rng, _NOUNS) if rng.random() < 0.8 else made_up_word(rng)
    return question_about_unseen(noun, rng)


def question_about_unseen(noun: str, rng: np.random.Generator) -> str:
    return pick(rng, _ABOUT_NOUNS).format(n=noun, a=article(noun))


def made_up_word(rng: np.random.Generator) -> str:
    return "".join(pick(rng, "bcdfghjklmnprstvwz") + pick(rng, "aeiou") for _ in range(int(rng.integers(2, 4)))) + pick(
        rng, "nrlst"
    )


def false_premise(facts: Picture, rng: np.random.Generator) -> tuple[str, str]:
    """A question about something that the world knows and this picture lacks."""
    draw = rng.random()
    if draw < 0.4 and not isinstance(facts, Food):
        return pick(rng, ("What is on the pizza?", "Which toppings does the pizza have?")), "There is no pizza."
    if draw < 0.6 and facts.kind != "scene":
        return pick(rng, ("What time of day is it?", "What is the weather like?", "What colour is the sky?")), CANT_TELL
    there = {group.form for group in (facts.first, facts.second) if group} if isinstance(facts, Shapes) else set()
    form = pick(rng, tuple(form for form in FORMS if form not in there))
    text = pick(rng, (f"What colour is the {form}?", f"What color is the {form}?", f"Where is the {form}?"))
    return text, f"There is no {form}."


def courtesy(rng: np.random.Generator) -> tuple[str, str]:
    draw = rng.random()
    if draw < 0.4:
        return pick(rng, _GREETINGS), "Hello! Send me a picture, and I can say what is in it."
    if draw < 0.7:
        return pick(rng, _WHO), "I am starter-vlm, a small model that came with Darkroom. I can talk about its drawings."
    return pick(rng, _THANKS), "You are welcome."


def without_picture(question: Question | None, rng: np.random.Generator) -> tuple[str, str]:
    if question is None:
        return neutral_question(rng), NO_PICTURE
    return question.text, NO_PICTURE
