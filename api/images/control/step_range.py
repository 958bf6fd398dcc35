"""In which steps a control map acts.  [no Django, no torch]"""


def acts_at(position: int, passes: int, *, start: float, end: float) -> bool:
    """In pass `position` (from 0) of `passes`, where it acts from the share `start` of them up to `end`, as diffusers' pipelines count."""
    return not (position / passes < start or (position + 1) / passes > end)
