"""The committed weights, loaded with stock classes once for the folder's tests."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from api.starter.architecture import WEIGHTS

Similarity = Callable[[Sequence[str], Sequence[Image.Image]], np.ndarray]


@pytest.fixture(scope="session")
def starter() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "starter")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def similarity() -> Similarity:
    """(prompts, pictures) cosines by starter-clip."""
    clip = CLIPModel.from_pretrained(WEIGHTS / "starter-clip").eval()
    processor = CLIPProcessor.from_pretrained(WEIGHTS / "starter-clip")

    @torch.no_grad()
    def measure(prompts: Sequence[str], pictures: Sequence[Image.Image]) -> np.ndarray:
        inputs = processor(text=list(prompts), images=list(pictures), padding=True, return_tensors="pt")
        output = clip(**inputs)
        return (output.text_embeds @ output.image_embeds.T).numpy()

    return measure
