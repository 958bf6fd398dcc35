"""One small picture that nobody sees: libraries import and devices prepare what they need at the first use.  [torch; no Django]"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from api.images.backends.engine.traces import QUICK_SECONDS, tracing_at_once
from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.spec import TEXT_TO_IMAGE, Txt2ImgSpec
from api.model_loader import ModelLoader

SIDE = 64
STEPS = 2
"""The second meets another path than the first."""


class SilentHooks:
    """Hooks of a picture that nobody waits for."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self.should_stop = should_stop

    def on_step(self, step: int, steps: int, previews: list[bytes | None]) -> None: ...

    def wants_preview(self, index: int) -> bool:
        return True  # so that what previews need is prepared, too

    def on_load(self, fraction: float, text: str) -> None: ...

    def cancelled(self, index: int) -> bool:
        return self.should_stop()

    def measure(self, name: str) -> AbstractContextManager[object]:
        return nullcontext()

    def add_time(self, name: str, seconds: float, index: int | None = None) -> None: ...

    def warn(self, text: str, index: int | None = None) -> None: ...


def make_first_pictures(loader: ModelLoader, model_id: str, should_stop: Callable[[], bool]) -> None:
    """The smallest one; and, on a CPU that makes it within a moment, one of the model's own size, whose pass is traced."""
    make_picture(loader, model_id, SIDE, should_stop)
    if loader.device.type != "cpu" or should_stop():
        return
    side = loader.catalog.get(model_id).default_size
    begun = time.thread_time()
    make_picture(loader, model_id, SIDE, should_stop)
    if (time.thread_time() - begun) * (side / SIDE) ** 2 > STEPS * QUICK_SECONDS or should_stop():
        return
    with loader.use(model_id, TEXT_TO_IMAGE) as lease, tracing_at_once(lease.loaded_model):
        make_picture(loader, model_id, side, should_stop)


def make_picture(loader: ModelLoader, model_id: str, side: int, should_stop: Callable[[], bool]) -> None:
    """With the model's own guidance, since that is a pass of another size."""
    guidance = loader.catalog.get(model_id).default_guidance_scale
    spec = Txt2ImgSpec(prompt="a", model_id=model_id, width=side, height=side, steps=STEPS, guidance_scale=guidance, seed=0)
    generate(loader, [ImageRequest(spec)], SilentHooks(should_stop))
