"""What control maps of a request will change nothing, or mislead."""

from collections.abc import Iterator

from api.images.control.use import ControlUse, kind_of
from config.catalog import get_catalog


def control_warnings(controls: tuple[ControlUse, ...], steps: int) -> Iterator[str]:
    for number, use in enumerate(controls):
        name = f"control[{number}]"
        if not use.weight:
            yield f"{name} has the weight 0, and so no effect."
        elif not any(use.acts_at(step, steps) for step in range(steps)):
            yield f"{name} has no effect: none of the {steps} steps lies between its start and its end."
        entry = get_catalog().find_model(use.model_id)
        kind = kind_of(use.kind, use.preprocessor)
        if entry and entry.control and kind and kind not in entry.control:
            yield f"{name}: '{entry.id}' was made for {' and '.join(entry.control)} maps, and may misread one of {kind}."
