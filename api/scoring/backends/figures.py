"""The figures in which a prompt's fit is told. No torch, no Django: web processes tell them too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptScore:
    """One picture against one prompt."""

    cosine: float
    """-1 to 1. Comparable within one model only."""
    model: str

    def as_dict(self) -> dict[str, float | str]:
        """The four figures that are told together, so that nobody has to guess which: the cosine, whose it is, torchmetrics'
        scale (100·max(cos, 0)) and Hessel et al.'s (arXiv:2104.08718; 2.5·max(cos, 0), here in percent)."""
        cosine = round(self.cosine, 6)
        return {
            "clip_cosine": cosine,
            "clip_model": self.model,
            "clip_score": round(100 * max(cosine, 0.0), 4),
            "clip_score_hessel": round(250 * max(cosine, 0.0), 4),
        }
