"""starter-clip's training: siblings that differ in one fact, and what counts as wrong between them."""

from copy import deepcopy
from itertools import islice

import numpy as np
import pytest
import torch

from api.starter import world
from api.starter.training.clip import ClipTrainer, also_true, contrast, siblings
from api.starter.training.run import to_tensor
from api.starter.world.food import Food
from api.starter.world.scene import Scene
from api.starter.world.shapes import Group, Shapes

pytestmark = pytest.mark.models
LAKE = Scene("lake", "night", "clear", ("boat",))


def _differences(before: world.Picture, after: world.Picture) -> int:
    """How many fields differ; a group that another took the place of counts once."""
    return sum(getattr(before, name) != getattr(after, name) for name in before.__dataclass_fields__)


def test_siblings_differ_a_little_and_are_never_held_out() -> None:
    pairs = list(islice(siblings(3), 600))
    assert {before.kind for before, _ in pairs} == set(world.KINDS)
    for before, after in pairs:
        assert before.kind == after.kind
        assert before != after
        assert not any(world.is_held_out(picture) for picture in (before, after))
        # a new hour takes the sun, the moon and the rainbow with it; two shapes may change places
        assert _differences(before, after) <= 2, (before, after)


def test_a_sibling_can_be_drawn_and_told() -> None:
    rng = np.random.default_rng(0)
    for _, after in islice(siblings(4), 200):
        assert world.render(after, 1).shape == (128, 128, 3)
        assert world.describe_fully(after, rng)


@pytest.mark.parametrize(
    ("before", "after", "still"),
    [
        (LAKE, Scene("lake", "night", "clear", ("moon", "boat")), True),
        (Scene("lake", "night", "clear", ("moon", "boat")), LAKE, False),
        (LAKE, Scene("lake", "night", "clear", ("pines",)), False),
        (LAKE, Scene("lake", "day", "clear", ("boat",)), False),
        (LAKE, LAKE, True),
        (Food("pizza", "", "plate", "blue", ("olives",)), Food("pizza", "", "plate", "blue", ("olives", "basil")), True),
        (Food("pizza", "", "plate", "blue", ("olives",)), Food("pizza", "", "plate", "pink", ("olives", "basil")), False),
        (Shapes(Group("star", "red")), Shapes(Group("star", "blue")), False),
        (Shapes(Group("star", "red")), LAKE, False),
    ],
)
def test_what_is_said_stays_true_where_things_are_only_added(before: world.Picture, after: world.Picture, still: bool) -> None:
    assert world.still_told(before, after) is still


def test_a_caption_that_is_true_of_its_sibling_too_costs_nothing_there() -> None:
    moonlit = Scene("lake", "night", "clear", ("moon", "boat"))
    table = also_true([LAKE, moonlit, LAKE, Scene("lake", "day", "clear", ("boat",))])
    assert table.nonzero().tolist() == [[0, 1]]
    tokens = torch.arange(4)[:, None]
    logits = torch.full((4, 4), -20.0).fill_diagonal_(0)
    easy, torn = logits.clone(), logits.clone()
    torn[0, 1] = 5
    assert contrast(easy, tokens, table) == pytest.approx(contrast(torn, tokens, table))
    assert contrast(torn, tokens, torch.zeros_like(table)) > contrast(torn, tokens, table) + 1


def test_equal_captions_are_equally_right() -> None:
    tokens = torch.tensor([[1], [1]])
    none = torch.zeros(2, 2, dtype=torch.bool)
    alike = contrast(torch.zeros(2, 2), tokens, none)
    assert alike < contrast(torch.tensor([[9.0, 0.0], [0.0, 9.0]]), tokens, none)


def test_a_pupil_learns_and_goes_on_from_its_checkpoint_with_its_average() -> None:
    torch.manual_seed(0)
    first, second = ClipTrainer(), ClipTrainer()
    facts = [picture for pair in islice(siblings(5), 8) for picture in pair]
    pictures, rng = to_tensor([world.render(picture, 1) for picture in facts]), np.random.default_rng(1)
    captions = [world.describe_fully(picture, rng) for picture in facts]
    losses = [first.learn(facts, captions, pictures, 1e-3) for _ in range(10)]
    assert losses[-1] < losses[0] - 0.2
    second.load(deepcopy(first.state()))
    assert (second.step, second.average.step) == (10, 10)
    assert all(torch.equal(one, other) for one, other in zip(first.average.values, second.average.values, strict=True))
    again = [trainer.learn(facts, captions, pictures, 1e-3) for trainer in (first, second)]
    assert again[0] == pytest.approx(again[1], rel=1e-3)
