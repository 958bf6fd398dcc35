"""`<lora:name:weight>` in a prompt: an adapter that is asked for by its name."""

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
    def weight(self) -> float | None:
        """1 without one; None where it is no number."""
        plain = [argument for argument in self.arguments if "=" not in argument]
        if not plain or not plain[0]:
            return 1.0
        try:
            return float(plain[0])
        except ValueError:
            return None

    @property
    def has_more(self) -> bool:
        """A weight for each part, or options."""
        return len(self.arguments) > 1 or any("=" in argument for argument in self.arguments)


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
