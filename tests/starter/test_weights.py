"""What the committed weights do: they are small, load with stock classes, follow prompts and take what people add."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from compel import CompelForSD
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image
from safetensors import safe_open

from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.evaluation import colours_found, relation_found, scene_prompts, shape_prompts
from api.starter.training.judge import load_judge, see
from api.starter.training.run import autocast, to_tensor
from api.starter.vlm import FOLDER
from api.starter.world.scene import OBJECTS, Scene, sample_scene
from api.starter.world.styles import RISO_INKS
from tests.starter.conftest import Similarity

pytestmark = [pytest.mark.models, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
PROMPTS = [
    "A serene lake at sunset",
    "a desert at noon with cacti",
    "a city skyline at night",
    "a snowy landscape by day",
    "a forest at sunrise",
    "a pizza with pepperoni",
]
Draw = Callable[..., list[Image.Image]]


@pytest.fixture(scope="module")
def draw(starter: StableDiffusionPipeline) -> Draw:
    def one_each(prompts: list[str], guidance: float = 5.0, steps: int = 12, **more: object) -> list[Image.Image]:
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
        with autocast(torch.device("cpu")):
            return starter(prompts, num_inference_steps=steps, guidance_scale=guidance, generator=generators, **more).images

    return one_each


def _right(similarity: Similarity, pictures: list[Image.Image]) -> float:
    """How much better the pictures fit their own prompts than the others', as a difference of mean cosines."""
    cosines = similarity(PROMPTS, pictures)
    own = np.eye(len(PROMPTS), dtype=bool)
    return float(cosines[own].mean() - cosines[~own].mean())


def _likeness(one: Image.Image, other: Image.Image) -> float:
    """PSNR in dB."""
    error = np.square(np.asarray(one, float) - np.asarray(other, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


LATER = ("starter-control", "starter-cutout", "starter-upscaler")
TEXTS = 300_000
"""Bytes of a card and of the pictures on it."""


def test_all_weights_fit_in_60_megabytes_the_chat_models_in_12_the_controlnet_in_8_and_the_detector_in_2() -> None:
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    chat = sum(size for path, size in sizes.items() if FOLDER in path.parents)
    assert chat < 12_000_000
    assert (WEIGHTS / "starter-detector" / "model.onnx").stat().st_size < 2_000_000
    control, cutout, upscaler = (sum(one for path, one in sizes.items() if path.parent.name == name) for name in LATER)
    assert (control < 8_000_000 + TEXTS, cutout < 2_000_000, upscaler < 1_000_000) == (True, True, True)
    assert sum(sizes.values()) - chat - control - cutout - upscaler < 38_000_000
    assert sum(sizes.values()) < 60_000_000


def test_what_export_onnx_makes_is_not_kept_in_a_second_precision() -> None:
    assert {path.stem.rpartition("_")[2] for path in FOLDER.rglob("*.onnx")} == {"int8"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_a_checkout_weighs_at_most_66_mebibytes() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) <= 66 * 2**20


def test_weights_are_stored_in_half_precision() -> None:
    for path in WEIGHTS.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, path


def test_a_plain_load_gives_one_precision_throughout(starter: StableDiffusionPipeline) -> None:
    assert {part.dtype for part in (starter.unet, starter.vae, starter.text_encoder)} == {torch.float32}


def test_pictures_fit_their_own_prompts_better_than_others(draw: Draw, similarity: Similarity) -> None:
    cosines = similarity(PROMPTS, draw(PROMPTS))
    assert (cosines.argmax(axis=0) == np.arange(len(PROMPTS))).sum() >= len(PROMPTS) - 1


def test_guidance_makes_pictures_follow_their_prompts(draw: Draw) -> None:
    judge, asked = load_judge(), scene_prompts(32)

    def facts_found(guidance: float) -> float:
        """The share of what prompts of held-out scenes ask for that an independent judge sees."""
        pictures = to_tensor([np.asarray(picture) for picture in draw([a.prompt for a in asked], guidance=guidance)])
        return float(
            np.mean([found for a, seen in zip(asked, see(judge, pictures), strict=True) for found in a.facts_found(seen)])
        )

    guided = facts_found(5.0)
    assert guided > facts_found(1.0) + 0.03
    assert guided > 0.85


def test_shapes_have_the_colours_forms_and_places_that_they_were_asked_to_have(draw: Draw) -> None:
    """Pairs of coloured shapes that training never saw together."""
    asked = shape_prompts(16)
    pictures = to_tensor([np.asarray(picture) for picture in draw([prompt for prompt, _ in asked])])
    seen = [choices for choices, _ in see(load_judge(), pictures)]
    found = [colours_found(shapes, choices) for (_, shapes), choices in zip(asked, seen, strict=True)]
    assert np.mean(found) > 0.85
    assert np.mean([relation_found(shapes, choices) for (_, shapes), choices in zip(asked, seen, strict=True)]) > 0.85


def test_nights_are_dark_and_sunsets_are_warm(draw: Draw) -> None:
    night, day, sunset = (np.asarray(p, float) for p in draw(["a lake at night", "a lake by day", "a lake at sunset"]))
    assert night.mean() < day.mean() - 50
    assert sunset[..., 0].mean() - sunset[..., 2].mean() > day[..., 0].mean() - day[..., 2].mean() + 50


def test_words_of_a_negative_prompt_do_no_harm(draw: Draw, similarity: Similarity) -> None:
    negative = ["blurry, low quality, watermark"] * len(PROMPTS)
    assert _right(similarity, draw(PROMPTS, negative_prompt=negative)) > _right(similarity, draw(PROMPTS)) - 0.08


@pytest.mark.parametrize("scheduler", [EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_usual_schedulers_follow_the_prompt_too(
    scheduler: type, starter: StableDiffusionPipeline, draw: Draw, similarity: Similarity
) -> None:
    before = starter.scheduler
    starter.scheduler = scheduler.from_config(before.config)
    pictures = draw(PROMPTS)
    starter.scheduler = before
    assert (similarity(PROMPTS, pictures).argmax(axis=0) == np.arange(len(PROMPTS))).sum() >= len(PROMPTS) - 2


def test_the_autoencoder_keeps_a_picture(starter: StableDiffusionPipeline) -> None:
    source = world.render(Scene("lake", "sunset", "clear", ("sun", "boat")), 4)
    batch = torch.from_numpy(source).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        output = starter.vae.decode(starter.vae.encode(batch).latent_dist.sample(torch.Generator().manual_seed(0))).sample
    picture = ((output[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert _likeness(Image.fromarray(source), Image.fromarray(picture)) > 26


def test_a_low_strength_keeps_the_picture_and_a_high_one_follows_the_prompt(
    starter: StableDiffusionPipeline, similarity: Similarity
) -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**starter.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    source = Image.fromarray(world.render(Scene("lake", "day", "clear", ("sun",)), 4))
    prompt = "a desert at night with a full moon"
    low, middle, high = (
        pipeline(
            prompt,
            image=source,
            strength=strength,
            guidance_scale=5.0,
            num_inference_steps=20,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
        for strength in (0.2, 0.6, 0.95)
    )
    assert _likeness(source, low) > _likeness(source, middle) > _likeness(source, high)
    assert similarity([prompt], [high])[0, 0] > similarity([prompt], [low])[0, 0] + 0.1


def test_inpainting_leaves_what_is_outside_the_mask(starter: StableDiffusionPipeline) -> None:
    pipeline = StableDiffusionInpaintPipeline(**starter.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    source = Image.fromarray(world.render(Scene("lake", "day", "clear", ("sun",)), 4))
    mask = Image.new("L", source.size, 0)
    mask.paste(255, (0, 64, 128, 128))
    result = pipeline(
        "a desert at night",
        image=source,
        mask_image=mask,
        num_inference_steps=12,
        height=128,
        width=128,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    upper, lower = (0, 0, 128, 56), (0, 72, 128, 128)
    assert _likeness(source.crop(upper), result.crop(upper)) > _likeness(source.crop(lower), result.crop(lower)) + 6


def test_compel_weights_a_word(starter: StableDiffusionPipeline, similarity: Similarity) -> None:
    compel = CompelForSD(starter)

    def picture(prompt: str) -> Image.Image:
        return starter(
            prompt_embeds=compel(prompt).embeds,
            negative_prompt_embeds=compel("").embeds,
            guidance_scale=5.0,
            num_inference_steps=12,
            generator=torch.Generator().manual_seed(0),
        ).images[0]

    plain, stronger = picture("a lake at night"), picture("a lake at (night)1.5")
    assert 8 < _likeness(plain, stronger) < 60


def test_the_lora_prints_in_its_inks(draw: Draw, starter: StableDiffusionPipeline) -> None:
    prompts = ["riso print, a serene lake at sunset", "riso print, green hills by day with a house"]
    plain = draw(prompts)
    starter.load_lora_weights(WEIGHTS / "lora-riso")
    printed = draw(prompts)
    starter.unload_lora_weights()
    again = draw(prompts)
    assert _distance_to_inks(printed) < _distance_to_inks(plain) - 10
    assert all(_likeness(one, other) > 40 for one, other in zip(plain, again, strict=True))


def _distance_to_inks(pictures: list[Image.Image]) -> float:
    """Mean distance of pixels to the nearest tone on the way from the darkest ink to the lightest, in steps of 0..255."""
    tones = np.concatenate([RISO_INKS[i] + np.linspace(0, 1, 8)[:, None] * (RISO_INKS[i + 1] - RISO_INKS[i]) for i in range(3)])
    pixels = np.stack([np.asarray(picture, float)[::4, ::4].reshape(-1, 3) for picture in pictures])
    return float(np.linalg.norm(pixels[..., None, :] - tones, axis=-1).min(axis=-1).mean())


def test_clip_prefers_the_true_caption(similarity: Similarity) -> None:
    rng = np.random.default_rng(1_000_000_100)
    pictures = [world.sample(rng) for _ in range(30)]
    images = [Image.fromarray(world.render(picture, i)) for i, picture in enumerate(pictures)]
    cosines = similarity([world.describe_fully(picture, rng) for picture in pictures], images)
    assert (cosines.argmax(axis=0) == np.arange(30)).mean() >= 0.85


def test_the_judge_misses_a_thing_about_as_often_as_it_sees_it_in_vain() -> None:
    judge, rng = load_judge(), np.random.default_rng(77)
    scenes = [sample_scene(rng) for _ in range(900)]
    pictures = to_tensor([world.render(scene, seed) for seed, scene in enumerate(scenes)])
    seen = [things for part in pictures.split(100) for _, things in see(judge, part)]
    for thing in OBJECTS:
        missed = np.mean([not things[thing] for scene, things in zip(scenes, seen, strict=True) if thing in scene.objects])
        in_vain = np.mean([things[thing] for scene, things in zip(scenes, seen, strict=True) if thing not in scene.objects])
        assert (missed < 0.15, in_vain < 0.15) == (True, True), thing
