"""Which part of making a picture takes how long: encode, denoise, decode.  [torch]"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from api.images.backends.request import Hooks

_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class Phases:
    """A stopwatch with one running phase. On CUDA it waits for the device at each change: time lands where it was spent."""

    def __init__(self, hooks: Hooks, device: torch.device) -> None:
        self._hooks, self._device = hooks, device
        self._running: AbstractContextManager[object] | None = None
        self._name = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time inside counts as `name`, and no longer as the phase around it."""
        outer = self._name
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    @contextmanager
    def watch(self, pipeline: Any) -> Iterator[None]:
        """Inside, the pipeline's text encoders and its image encoder count as "encode", whatever calls them."""
        modules = [getattr(pipeline, name, None) for name in _ENCODERS]
        modules.append(getattr(getattr(pipeline, "vae", None), "encoder", None))
        handles = [handle for module in modules if isinstance(module, torch.nn.Module) for handle in self._hook(module)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, module: torch.nn.Module) -> list[Any]:
        outer: list[str] = []

        def before(*_: Any) -> None:
            outer.append(self._name)
            self._switch("encode")

        def after(*_: Any) -> None:
            self._switch(outer.pop())

        return [
            module.register_forward_pre_hook(before),
            module.register_forward_hook(after, always_call=True),
        ]

    def _switch(self, name: str) -> None:
        if name == self._name:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        if self._running is not None:
            self._running.__exit__(None, None, None)
        self._name = name
        self._running = self._hooks.measure(name) if name else None
        if self._running is not None:
            self._running.__enter__()
