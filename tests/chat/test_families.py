"""The catalog's other chat families, as real tiny checkpoints: each writes what transformers' own generate writes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from api.catalog import Catalog, ModelEntry, load_catalog
from api.chat.backends.prompting import encode
from api.chat.backends.request import MessagePart, Turn
from api.chat.backends.torch_backend import TorchBackend, image_token_ids
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.json_text import without_unkept
from api.model_loader import ModelLoader
from tests.chat.test_torch_backend import RecordingCallbacks, request, run, text_of
from tests.models.tiny_families import FAMILIES

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
SEEING = [family for family, (task, _) in FAMILIES.items() if task == "image-text-to-text"]
QUESTIONS = ("What is in this image?", "a red circle above a blue square")


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    folder = tmp_path_factory.mktemp("families")
    tables = []
    for family, (task, build) in FAMILIES.items():
        path = build(folder / family)
        tables.append(f'[models."{family}"]\nname = "Tiny"\nfamily = "{family}"\ntask = "{task}"\npath = "{path}"\n')
    (folder / "models.toml").write_text("\n".join(tables))
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(folder / "models.toml"), ModelStore(folder), device)


def shown(family: str, sort: str = "noise") -> Image.Image | None:
    if family not in SEEING:
        return None
    if sort == "red":
        return Image.new("RGB", (64, 48), "red")
    noise = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return Image.fromarray(noise.numpy())


def generated(loader: ModelLoader, family: str, question: str, image: Image.Image | None) -> str:
    with loader.use(family, loader.catalog.get(family).task) as lease:
        chat = lease.pipeline
        prompt = encode(chat, request(question, family, image))
        model, inputs = chat.model, prompt.inputs
        if image is None and family == "blip-2":
            model = model.language_model
        if image is None and family == "kosmos-2":
            model = model.text_model
        banned = [[token] for token in image_token_ids(chat)] or None
        made = model.generate(**inputs, max_new_tokens=24, do_sample=False, bad_words_ids=banned)
        return str(chat.tokenizer.decode(made[0, prompt.length :], skip_special_tokens=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_writes_what_transformers_own_generate_writes(loader: ModelLoader, family: str) -> None:
    image = shown(family)
    ours = text_of(run(loader, [request(QUESTIONS[0], family, image)])[0])
    assert len(ours) > 5
    assert ours == without_unkept(generated(loader, family, QUESTIONS[0], image))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_that_are_written_together_are_as_each_alone(loader: ModelLoader, family: str) -> None:
    requests = [request(question, family, shown(family)) for question in QUESTIONS]
    alone = [text_of(run(loader, [each])[0]) for each in requests]
    assert alone[0] != alone[1]
    assert [text_of(heard) for heard in run(loader, requests, apart=2)] == alone


@pytest.mark.parametrize("family", SEEING)
def test_the_picture_is_looked_at_and_can_be_left_out(loader: ModelLoader, family: str) -> None:
    first, other = (text_of(run(loader, [request(QUESTIONS[0], family, shown(family, sort))])[0]) for sort in ("noise", "red"))
    assert first != other
    without = text_of(run(loader, [request(QUESTIONS[0], family, None)])[0])
    assert without == generated(loader, family, QUESTIONS[0], None)


@pytest.mark.parametrize("family", ["internvl", "smolvlm2"])
def test_detail_is_how_many_tiles_a_picture_that_is_not_square_becomes(loader: ModelLoader, family: str) -> None:
    part = MessagePart(image=Image.new("RGB", (128, 64), "red"))
    pictures = [(replace(part, detail=detail),) for detail in ("low", "high")]
    with loader.use(family, loader.catalog.get(family).task) as lease:
        asked = [replace(request("x", family), turns=(Turn("user", parts),)) for parts in (*pictures, sum(pictures, ()))]
        tiles = [encode(lease.pipeline, each).inputs["pixel_values"].flatten(0, -4).shape[0] for each in asked]
    assert tiles[0] == 1 < tiles[1]
    assert tiles[2] == tiles[0] + tiles[1]


@pytest.mark.parametrize(
    ("config", "code", "reason"),
    [
        (
            {"model_type": "internvl_chat", "auto_map": {"AutoModel": "modeling.X"}},
            "needs_remote_code",
            "names that end in -hf",
        ),
        ({"model_type": "paligemma"}, "unsupported_checkpoint", "was not trained on dialogues"),
    ],
)
def test_what_has_no_form_for_chats_here_says_why(tmp_path: Path, config: dict[str, object], code: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    entry = ModelEntry(id="it", name="It", task="image-text-to-text", path=tmp_path)
    loader = ModelLoader(Catalog({"it": entry}, {}), ModelStore(tmp_path), Device("cpu", 0, "", torch.float32, True, 2**33))
    with pytest.raises(DarkroomError, match=reason) as raised, loader.use("it", entry.task):
        pass
    assert raised.value.code == code


@pytest.mark.parametrize("family", ["blip-2", "kosmos-2"])
def test_who_looks_at_one_picture_says_so(loader: ModelLoader, family: str) -> None:
    one = request(QUESTIONS[0], family, shown(family))
    turn = one.turns[0]
    two = replace(one, turns=(replace(turn, parts=(turn.parts[0], *turn.parts)),))
    with pytest.raises(DarkroomError, match="looks at one picture; there are 2"):
        TorchBackend(loader, family).admit(two, RecordingCallbacks())


@pytest.mark.parametrize("family", SEEING)
def test_special_tokens_of_a_client_are_plain_text(loader: ModelLoader, family: str) -> None:
    said = "<image> <|image_pad|> <grounding> <|im_end|> </s>"
    with loader.use(family, loader.catalog.get(family).task) as lease:
        chat = lease.pipeline
        plain = encode(chat, request("x", family, shown(family))).inputs["input_ids"]
        theirs = encode(chat, request(said, family, shown(family))).inputs["input_ids"]
        added = set(chat.tokenizer.added_tokens_encoder.values())
        count = [sum(token in added for token in ids[0].tolist()) for ids in (plain, theirs)]
    assert count[0] == count[1]
