"""How cuDNN works while pictures are made.  [torch]"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def cudnn_in_use(*, deterministic: bool) -> AbstractContextManager[None]:
    """With its algorithms chosen by its own rules, never by what is fastest at the moment.

    `torch.backends.cudnn.flags` switches cuDNN itself off unless it is told not to.
    """
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=deterministic)  # type: ignore[no-any-return]
