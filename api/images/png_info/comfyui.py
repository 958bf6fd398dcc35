"""ComfyUI's graph: what can be read of it from the sampler backwards. A graph may be any program, so much is left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.images.png_info.found import Found, FoundLora, as_mapping, as_text, shown
from api.images.prompt_syntax.syntaxes import A1111

MOST_NODES, MOST_VISITED = 5_000, 500
SAMPLER_INPUTS = ("latent_image", "latent")
VALUES = {"seed": ("seed", "noise_seed"), "steps": ("steps",), "guidance_scale": ("cfg", "guidance")}
SCALARS = ("value", "int", "float", "string", "text", "seed", "Value", "Number", "number")
"""How primitive nodes call what they hold."""
ASIDE = ("noise", "sampler", "sigmas", "guider")
"""Inputs behind which a sampler of the newer kind has its values."""
TEXTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "string", "prompt", "value")
MODEL_FILES = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")


@dataclass(frozen=True)
class Node:
    number: str
    kind: str
    inputs: Mapping[str, Any]


@dataclass
class Graph:
    nodes: dict[str, Node] = field(default_factory=dict)

    def linked(self, node: Node, name: str) -> Node | None:
        """The node that this input comes from."""
        value = node.inputs.get(name)
        is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
        return self.nodes.get(str(value[0])) if is_link else None  # type: ignore[index]

    def links(self, node: Node) -> Iterator[tuple[str, Node]]:
        for name in list(node.inputs)[:100]:
            if (other := self.linked(node, name)) is not None:
                yield name, other

    def upstream(self, start: Node | None, names: Sequence[str] | None = None) -> Iterator[Node]:
        """`start`, then what it comes from, the nearest first, each once; only through inputs that are called so."""
        waiting, seen = deque([start] if start else []), set[str]()
        while waiting and len(seen) < MOST_VISITED:
            node = waiting.popleft()
            if node.number in seen:
                continue
            seen.add(node.number)
            yield node
            waiting += [other for name, other in self.links(node) if names is None or name in names]

    def scalar(self, node: Node, name: str) -> Any:
        """An input's value, also where a primitive node holds it; None where there is none."""
        value = node.inputs.get(name)
        if isinstance(value, str | int | float):
            return value
        for other in self.upstream(self.linked(node, name)):
            for held in (name, *SCALARS):
                if isinstance(other.inputs.get(held), str | int | float):
                    return other.inputs[held]
        return None


def read_comfyui(data: object) -> Found | None:
    """None where nothing in it makes a picture."""
    graph = parse_graph(data)
    samplers = [node for node in graph.nodes.values() if is_sampler(node)]
    if not samplers:
        return None
    sampler = next((node for node in samplers if size_of(graph, node)), samplers[0])
    found = Found("comfyui", syntax=A1111)
    if len(samplers) > 1:
        found.warnings.append(f"The graph has {len(samplers)} samplers; the one that begins with an empty picture was read.")
    read_values(graph, sampler, found)
    read_prompts(graph, sampler, found)
    read_model(graph, sampler, found)
    found.vae = next((as_text(node.inputs.get("vae_name")) for node in graph.nodes.values() if node.kind == "VAELoader"), "")
    skips = (node.inputs.get("stop_at_clip_layer") for node in graph.nodes.values() if node.kind == "CLIPSetLastLayer")
    if isinstance(skip := next(skips, None), int) and -13 <= skip <= -1:
        found.values["clip_skip"] = -skip - 1
    found.warnings += describe_unread(graph)
    return found


def parse_graph(data: object) -> Graph:
    graph = Graph()
    for number, value in list(as_mapping(data).items())[:MOST_NODES]:
        node = as_mapping(value)
        if isinstance(node.get("class_type"), str):
            graph.nodes[number] = Node(number, node["class_type"][:200], as_mapping(node.get("inputs")))
    return graph


def is_sampler(node: Node) -> bool:
    return any(name in node.inputs for name in SAMPLER_INPUTS) and (
        "Sampler" in node.kind or {"steps", "cfg"} <= node.inputs.keys()
    )


def size_of(graph: Graph, sampler: Node) -> tuple[Any, Any] | None:
    """Of the empty picture that it begins with."""
    for name in SAMPLER_INPUTS:
        start = graph.linked(sampler, name)
        if start is not None and "width" in start.inputs and "height" in start.inputs:
            return graph.scalar(start, "width"), graph.scalar(start, "height")
    return None


def read_values(graph: Graph, sampler: Node, found: Found) -> None:
    nodes = list(graph.upstream(sampler, ASIDE))

    def first(names: Sequence[str]) -> Any:
        values = (graph.scalar(node, name) for node in nodes for name in names if name in node.inputs)
        return next((value for value in values if value is not None), None)

    found.values = {ours: value for ours, names in VALUES.items() if (value := first(names)) is not None}
    found.sampler, found.schedule = as_text(first(("sampler_name",))), as_text(first(("scheduler",)))
    denoise = first(("denoise",))
    if size := size_of(graph, sampler):
        found.values |= {"width": size[0], "height": size[1]}
    else:
        found.strength = denoise


def read_prompts(graph: Graph, sampler: Node, found: Found) -> None:
    nodes = list(graph.upstream(sampler, ASIDE))
    positive = first_linked(graph, nodes, ("positive", "conditioning"))
    found.prompt = read_text(graph, positive, "positive", found)
    found.negative_prompt = read_text(graph, first_linked(graph, nodes, ("negative",)), "negative", found)


def first_linked(graph: Graph, nodes: Sequence[Node], names: Sequence[str]) -> Node | None:
    return next((other for node in nodes for name in names if (other := graph.linked(node, name))), None)


def read_text(graph: Graph, start: Node | None, side: str, found: Found) -> str:
    """The words of the text encoders before `start`, on this side of nodes that pass both on."""
    through = [side, *(name for name in CONDITIONINGS if name != side)]
    texts = []
    for node in graph.upstream(start, through):
        held = (
            [graph.scalar(node, name) for name in TEXTS if name in node.inputs]
            if "clip" in node.inputs or "Encode" in node.kind
            else []
        )
        texts += [text for text in dict.fromkeys(held) if isinstance(text, str)]
    texts = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(texts) > 1:
        found.warnings.append(f"The {side} prompt has {len(texts)} parts, which were joined.")
    return convert_notation(", ".join(texts), found)


CONDITIONINGS = ("conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from")


def convert_notation(text: str, found: Found) -> str:
    """Square brackets are characters there, and embeddings have a prefix."""
    found.embeddings += [name for name in embedding_names(text) if name not in found.embeddings]
    return text.replace("embedding:", "").replace("[", "\\[").replace("]", "\\]")


def embedding_names(text: str) -> list[str]:
    names = (part.split()[0] if part.split() else "" for part in text.split("embedding:")[1:51])
    return [name.strip(",.()[]").split(":")[0].removesuffix(".safetensors").removesuffix(".pt") for name in names if name]


def read_model(graph: Graph, sampler: Node, found: Found) -> None:
    start = first_linked(graph, list(graph.upstream(sampler, ASIDE)), ("model",))
    for node in graph.upstream(start, ("model", "unet", "diffusion_model")):
        found.loras += loras_of(graph, node)
        names = [name for key in MODEL_FILES if (name := as_text(graph.scalar(node, key)) if key in node.inputs else "")]
        if names and not found.models:
            found.models = names


def loras_of(graph: Graph, node: Node) -> Iterator[FoundLora]:
    if name := as_text(node.inputs.get("lora_name")):
        on_model, on_clip = (graph.scalar(node, f"strength_{part}") for part in ("model", "clip"))
        if on_clip is None:
            on_clip = 0.0 if "ModelOnly" in node.kind else on_model
        yield FoundLora(name, on_clip, unet=on_model)
    for key in list(node.inputs)[:100]:  # nodes that hold several
        entry = as_mapping(node.inputs[key])
        if entry.get("on", True) and isinstance(entry.get("lora"), str):
            yield FoundLora(entry["lora"], entry.get("strength", 1.0))


def describe_unread(graph: Graph) -> list[str]:
    words = ("ControlNet", "IPAdapter", "Upscale", "Inpaint")
    kinds = {node.kind for node in graph.nodes.values() if any(word in node.kind for word in words)}
    return [f"Not read: {shown(', '.join(sorted(kinds)))}."] if kinds else []
