"""What image prompts of a request will change nothing."""

from collections.abc import Iterator, Sequence

from api.images.ip_adapter.use import ImagePromptUse


def image_prompt_warnings(uses: Sequence[ImagePromptUse]) -> Iterator[str]:
    for number, use in enumerate(uses):
        if not use.weight:
            yield f"ip_adapter[{number}] has the weight 0, and so no effect."
