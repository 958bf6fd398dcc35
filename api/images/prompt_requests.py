"""What the prompts of a request come to: their syntax, the adapters and embeddings that they name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ValidationError

from api.catalog import ModelEntry, UnknownAdapter
from api.images.family_names import describe_families, describe_misfit
from api.images.prompt_syntax.embedding_names import MOST_EMBEDDINGS, NamedEmbedding, find_named, names_of, unusual_words
from api.images.prompt_syntax.networks import NetworkTag, take_networks
from api.images.prompt_syntax.reading import MOST_PARTS, MOST_TEXTS, count_parts, count_texts
from api.images.prompt_syntax.syntaxes import A1111, AUTO, detect_syntax
from api.images.repeated_loras import add_up
from api.images.scheduler_presets import MOST_STEPS, UNET_FAMILIES
from api.images.spec import LARGEST_LORA_WEIGHT, MOST_KNOWN, MOST_LORAS
from api.json_types import JsonObject
from config.catalog import get_catalog

PROMPT, NEGATIVE, LENIENT = "prompt", "negative_prompt", "lenient_prompts"


@dataclass(frozen=True)
class ReadPrompts:
    """The fields of a request that its prompts decide, and what a person should know of it."""

    prompt: str
    negative_prompt: str
    syntax: str
    loras: list[JsonObject]
    embeddings: tuple[NamedEmbedding, ...]
    warnings: list[str]


def read_prompts(prompt: str, negative_prompt: str, syntax: str, entry: ModelEntry, *, lenient: bool = False) -> ReadPrompts:
    """Raises ValidationError that names the field. `lenient`: the prompt may have no words, and what it names and isn't here is left
    out with a warning.
    """
    warnings: list[str] = []
    loras: list[JsonObject] = []
    detected, piece = detect_syntax([prompt, negative_prompt])
    if syntax in (A1111, AUTO):
        prompt, tags = take_networks(prompt)
        negative_prompt, idle = take_networks(negative_prompt)
        prompt, negative_prompt = prompt.strip(), negative_prompt.strip()
        warnings += describe_tags(tags, idle)
        loras, unknown = find_loras(tags, entry, lenient=lenient)
        loras, added = add_up(loras)
        warnings += [*unknown, *added]
        if syntax == AUTO and loras:
            named = ", ".join(str(lora["id"]) for lora in loras)
            warnings.append(f"The prompt names adapters in AUTOMATIC1111's notation, which were added to `loras`: {named}.")
    if syntax == AUTO:
        syntax = detected
        if piece:
            warnings.append(f"The prompts were read in AUTOMATIC1111's notation (prompt_syntax a1111), as they have {piece}.")
    if not prompt and not lenient:
        raise ValidationError({PROMPT: ["Beside the adapters that it names, the prompt has no words."]}, code="blank")
    if syntax == A1111:
        check_texts(prompt, negative_prompt)
    embeddings = find_embeddings([prompt, negative_prompt], entry)
    for detail in find_misfits([prompt, negative_prompt], embeddings, entry):
        if not lenient:
            raise ValidationError({PROMPT: [detail]}, code="embedding_mismatch")
        warnings.append(f"{detail} Its name was read as words.")
    return ReadPrompts(prompt, negative_prompt, syntax, loras, embeddings, warnings)


def read_request(data: dict[str, Any], default_syntax: str, entry: ModelEntry, *, lenient: bool = False) -> list[str]:
    """Puts what was read in the place of what was sent. Returns warnings."""
    syntax = data.get("prompt_syntax") or default_syntax
    read = read_prompts(data[PROMPT], data[NEGATIVE], syntax, entry, lenient=lenient)
    data |= {PROMPT: read.prompt, NEGATIVE: read.negative_prompt, "prompt_syntax": read.syntax}
    data["loras"] = [*data["loras"], *read.loras]
    if read.loras and len(data["loras"]) > MOST_LORAS:
        detail = f"With those in the prompt there are {len(data['loras'])} adapters; at most {MOST_LORAS} can be used."
        raise ValidationError({"loras": [detail]}, code="max_length")
    return read.warnings


def find_loras(tags: Sequence[NetworkTag], entry: ModelEntry, *, lenient: bool) -> tuple[list[JsonObject], list[str]]:
    """And warnings of those that were left out, instead of a ValidationError."""
    found, warnings = [], []
    for tag in tags:
        try:
            found += [find_lora(tag, entry)] if tag.is_lora else []
        except ValidationError as error:
            if not lenient:
                raise
            warnings.append(f"{error.detail[PROMPT][0]} It was left out.")  # type: ignore[call-overload,index]
    return found, warnings


def find_lora(tag: NetworkTag, entry: ModelEntry) -> JsonObject:
    if not all(weight is not None and abs(weight) <= LARGEST_LORA_WEIGHT for weight in (tag.text, tag.unet)):
        detail = f"{tag.source}: a weight must be a number from -{LARGEST_LORA_WEIGHT} to {LARGEST_LORA_WEIGHT}."
        raise ValidationError({PROMPT: [detail]}, code="lora_weight")
    try:
        adapter = get_catalog().adapter(tag.name)
    except UnknownAdapter as error:
        raise ValidationError({PROMPT: [f"{tag.source}: {unknown_lora(error, entry)}"]}, code="unknown_lora") from None
    if not adapter.fits(entry):
        raise ValidationError({PROMPT: [f"{tag.source}: {describe_misfit(adapter, entry)}"]}, code="unknown_lora")
    lora: JsonObject = {"id": adapter.id, "weight": tag.text}
    return lora if tag.unet == tag.text else {**lora, "unet": tag.unet}


def unknown_lora(error: UnknownAdapter, entry: ModelEntry) -> str:
    if error.nearest or error.reason:
        return str(error)
    known = [known.id for known in get_catalog().adapters_for(entry.id)]
    more = " and more" if len(known) > MOST_KNOWN else ""
    return f"{error} For {entry.id} there are: {', '.join(known[:MOST_KNOWN]) or 'none'}{more}."


def describe_tags(tags: Sequence[NetworkTag], idle: Sequence[NetworkTag]) -> Iterator[str]:
    """What of them was not done. `idle`: those in the negative prompt."""
    for tag in tags:
        if not tag.is_lora:
            yield f"{tag.source} has no effect: hypernetworks can't be used here."
        elif tag.unread:
            yield f"{tag.source}: {', '.join(tag.unread)} has no effect."
    for tag in idle:
        yield f"{tag.source} in negative_prompt has no effect: adapters are named in the prompt."


def check_texts(prompt: str, negative_prompt: str) -> None:
    for field, text in ((PROMPT, prompt), (NEGATIVE, negative_prompt)):
        if (parts := count_parts(text)) > MOST_PARTS:
            detail = f"It is composed of {parts} prompts by AND; {MOST_PARTS} are allowed."
            raise ValidationError({field: [detail]}, code="prompt_parts")
        if (count := count_texts(text, MOST_STEPS)) > MOST_TEXTS:
            detail = f"It changes with the steps to {count} different texts; {MOST_TEXTS} are allowed."
            raise ValidationError({field: [detail]}, code="prompt_schedule")


def find_embeddings(texts: Sequence[str], entry: ModelEntry) -> tuple[NamedEmbedding, ...]:
    """Those for this model. Raises ValidationError for a name of several."""
    if entry.family not in UNET_FAMILIES:
        return ()
    catalog = get_catalog()
    offered = catalog.embeddings_for(entry.id)
    named = find_named(texts, offered)
    for one in named:
        same = [other.id for other in offered if one.name in names_of(other)]
        if len(same) > 1:
            detail = f"Several embeddings are called '{one.name}'; name one of them by its id: {', '.join(same[:MOST_KNOWN])}."
            raise ValidationError({PROMPT: [detail]}, code="ambiguous_embedding")
    return named


def find_misfits(texts: Sequence[str], named: Sequence[NamedEmbedding], entry: ModelEntry) -> Iterator[str]:
    """In sentences those that a text names and that can only be meant for another model."""
    if entry.family not in UNET_FAMILIES:
        return
    for word in unusual_words(texts)[:MOST_EMBEDDINGS]:
        known = any(one.name.lower() == word.lower() for one in named)
        other = None if known else get_catalog().find_embedding(word)
        if other is not None and other.family and other.family != entry.family:
            yield f"The embedding {describe_families(word, other.family, entry)}"
