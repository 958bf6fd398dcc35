"""Teaching the text encoder what captions say, and weighing things against their ground."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from api.starter import world
from api.starter.architecture import make_text_encoder, make_tokenizer
from api.starter.training.diffusion import THINGS, Loss
from api.starter.training.latents import shares_of_things
from api.starter.training.words import TextEncoderTrainer, captions, misread
from api.starter.world.scene import Scene
from api.starter.world.shapes import Group, Shapes

pytestmark = pytest.mark.models


def test_captions_for_the_encoder_tell_every_thing_and_hold_nothing_back_for_training() -> None:
    told = [pair for pair, _ in zip(captions(3), range(300), strict=False)]
    assert not any(world.is_held_out(picture) for picture, _ in told)
    boats = [caption for picture, caption in told if isinstance(picture, Scene) and "boat" in picture.objects]
    assert boats
    assert all("boat" in caption.lower() for caption in boats)


def test_the_encoder_learns_to_tell_facts_from_words() -> None:
    torch.manual_seed(0)
    trainer, stream = TextEncoderTrainer(make_text_encoder(make_tokenizer())), captions(4)
    before = misread(trainer.encoder, trainer.reader, trainer.tokenizer, 64)
    for _ in range(40):
        facts, told = zip(*(next(stream) for _ in range(32)), strict=True)
        trainer.learn(list(facts), list(told), 1e-3)
    after = misread(trainer.encoder, trainer.reader, trainer.tokenizer, 64)
    assert after["kind"] < 0.2 < before["kind"]
    assert np.mean(list(after.values())) < np.mean(list(before.values())) - 0.1


def test_a_pupil_goes_on_from_its_checkpoint() -> None:
    torch.manual_seed(0)
    first, second = (TextEncoderTrainer(make_text_encoder(make_tokenizer())) for _ in range(2))
    facts, told = zip(*(pair for pair, _ in zip(captions(5), range(16), strict=False)), strict=True)
    first.learn(list(facts), list(told), 1e-3)
    second.load(deepcopy(first.state()))
    losses = [[trainer.learn(list(facts), list(told), 1e-3) for _ in range(3)] for trainer in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_drawing_knows_which_of_its_pixels_are_things() -> None:
    picture = Shapes(Group("square", "red"), Group("circle", "blue"), "left")
    pixels, things = world.render_with_things(picture, 3)
    assert np.array_equal(pixels, world.render(picture, 3))
    coloured = np.ptp(pixels.astype(int), axis=-1) > 60
    assert (things | ~coloured).all()
    assert things.mean() == pytest.approx(coloured.mean(), abs=0.02)


@pytest.mark.parametrize("picture", [Scene("lake", "day", "rain", ()), world.Poster("red", "blue", "confetti", "vertical")])
def test_ground_patterns_and_weather_are_no_things(picture: world.Picture) -> None:
    assert not world.render_with_things(picture, 1)[1].any()


def test_shares_of_things_lie_where_the_latents_do() -> None:
    things = np.zeros((128, 128), bool)
    things[0:4, 4:6] = True
    shares = shares_of_things(things)
    assert (shares.shape, shares[0, 1], shares.sum()) == ((32, 32), 0.5, 0.5)


def test_things_weigh_more_the_clearer_the_picture_is() -> None:
    """With v = 0 predicted and latents of zeros, an error is the noise alone, so the ratio of two losses is the mean weight."""
    loss, latents = Loss(), torch.zeros(4000, 4, 1, 1)

    def measured(things: float) -> float:
        torch.manual_seed(1)
        return loss(lambda noisy, steps: torch.zeros_like(noisy), latents, things=torch.full((4000, 1, 1), things)).item()

    assert 1.0 < measured(1.0) / measured(0.0) < 1 + THINGS
    assert measured(0.5) / measured(0.0) == pytest.approx(1 + (measured(1.0) / measured(0.0) - 1) / 2, rel=1e-3)
