"""One small picture that nobody sees: libraries import and devices prepare what they need at the first use.  [torch; no Django]"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from api.images.backends.local import generate
from api.images.backends.request import ImageRequest
from api.images.spec import Txt2ImgSpec
from api.model_loader import ModelLoader

SIDE = 64


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


def make_smallest_picture(loader: ModelLoader, model_id: str, should_stop: Callable[[], bool]) -> None:
    """With guidance, since that is a pass of another size; two steps, since the second meets another path than the first."""
    guidance = loader.catalog.get(model_id).default_guidance_scale
    spec = Txt2ImgSpec(prompt="a", model_id=model_id, width=SIDE, height=SIDE, steps=2, guidance_scale=guidance, seed=0)
    generate(loader, [ImageRequest(spec)], SilentHooks(should_stop))
