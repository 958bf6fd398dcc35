"""`<lora:name:weight>` in a prompt: an adapter that is asked for by its name. A second weight is the denoiser's."""

import re
from dataclasses import dataclass

TAG = re.compile(r"<(?P<kind>[A-Za-z]+)\s*:(?P<rest>[^<>]+)>")
LORA_KINDS = frozenset({"lora", "lyco", "locon"})
HYPERNETWORK = "hypernet"
KINDS = LORA_KINDS | {HYPERNETWORK}


@dataclass(frozen=True)
class NetworkTag:
    """One `<kind:name:weight>`, as it was written."""

    kind: str
    name: str
    arguments: tuple[str, ...]
    source: str

    @property
    def is_lora(self) -> bool:
        return self.kind in LORA_KINDS

    @property
    def text(self) -> float | None:
        """The weight on the text encoders; 1 without one, None where it is no number."""
        return self._weight("te", 0, 1.0)

    @property
    def unet(self) -> float | None:
        """On the denoiser: as on the text encoders, where nothing else is said."""
        return self._weight("unet", 1, self.text)

    @property
    def unread(self) -> list[str]:
        """Arguments that are no weights."""
        named = [argument for argument in self.arguments if "=" in argument and not argument.startswith(("te=", "unet="))]
        return [*self._plain[2:], *named]

    @property
    def _plain(self) -> list[str]:
        return [argument for argument in self.arguments if "=" not in argument]

    def _weight(self, name: str, place: int, default: float | None) -> float | None:
        named = (argument.partition("=")[2] for argument in self.arguments if argument.startswith(f"{name}="))
        text = next(named, self._plain[place] if place < len(self._plain) else "")
        try:
            return float(text) if text else default
        except ValueError:
            return None


def take_networks(prompt: str) -> tuple[str, list[NetworkTag]]:
    """The prompt without the tags, and the tags. `<word:…>` of another kind stays where it is."""
    tags: list[NetworkTag] = []

    def take(match: re.Match[str]) -> str:
        kind = match["kind"].lower()
        if kind not in KINDS:
            return match[0]
        name, *arguments = (part.strip() for part in match["rest"].split(":"))
        tags.append(NetworkTag(kind, name, tuple(arguments), match[0]))
        return ""

    return TAG.sub(take, prompt), tags
