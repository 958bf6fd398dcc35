"""The form of a grid of variants. It becomes a body of POST /api/grids/, which the API's own serializer reads."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError, ValidationError

from api.access.principals import Principal
from api.images.grids.cells import NO_AXIS
from api.images.grids.serializers import GridSerializer
from api.jobs.admin.detail import readable
from api.json_types import JsonObject
from api.problems import field_errors
from api.strict import parse_json_text
from api.studio.forms import PromptForm
from api.studio.inputs import Input
from api.studio.sentences import in_language

NUMBER = re.compile(r"[+-]?(?:\d+|\d*\.\d+)")
NOT_IN_GRID = tuple(NO_AXIS - {"image", "mask"})
"""What a grid has its own of, or can't show."""
OWN_AXES = ("prompt", "seed")
NOT_SHOWN = ("seed", "prompt_syntax", "image", "mask")
NESTED = {"loras": ("loras.0.weight", "LoRA weight")}
"""Parts of a request that can be varied where it has them."""
PLACES = ("prompt", "part", "variants", "seeds", "parameter", "amounts", "form")
DEFAULT = "default"
"""The field is not given, as the picture's labels say it."""
NOTHING_VARIED = _("Nothing is varied yet: write other words for the prompt, several seeds, or a parameter's values.")


@dataclass(frozen=True)
class Parameter:
    """`hint`: what it takes. `names`: the values, where they are known."""

    name: str
    label: object
    hint: object
    names: Sequence[str]


@dataclass
class VariantsForm:
    """`base`: the request that is varied, without its prompt; the rest as it was typed."""

    base: JsonObject = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    make_query: str = ""
    """With which the prompt box gets this request."""

    @property
    def facts(self) -> list[tuple[str, object]]:
        """Of the base, in words; it is changed on the page that makes pictures."""
        shown = {
            name: value for name, value in self.base.items() if name not in NOT_SHOWN and value not in (None, "", [], {}, False)
        }
        return [(name.removesuffix("_id").replace("_", " "), readable(value)) for name, value in shown.items()]

    @property
    def parameters(self) -> list[Parameter]:
        prompt_form = PromptForm()
        plain = [one for one in prompt_form.fields() if one.name not in (*OWN_AXES, *NOT_IN_GRID, "lenient_prompts")]
        found = []
        for one in plain:
            shown = prompt_form.input_of(one)
            names = [value for value, _words in shown.choices if value]
            found.append(Parameter(one.name, shown.label, hint_of(shown), names))
        models = [Parameter("model_id", _("Model"), "", [model.id for model in prompt_form.models])]
        nested = [Parameter(*place, "-2 – 2", ()) for name, place in NESTED.items() if self.base.get(name)]
        return [one for one in found if one.name != "model_id"] + models + nested

    @property
    def slots(self) -> list[tuple[str, object]]:
        return [(name, self.errors.get(name, "")) for name in PLACES]


def hint_of(shown: Input) -> object:
    if shown.type == "number":
        return f"{shown.minimum} – {shown.maximum}"
    return _("A semicolon stands between texts.") if shown.type == "text" else ""


def read_variants(data: QueryDict, principal: Principal) -> tuple[VariantsForm, GridSerializer | None]:
    """The form, and a valid serializer where nothing is wrong with it."""
    values = {name: data.get(name, "").replace("\r\n", "\n").strip() for name in PLACES}
    form = VariantsForm(read_base(data.get("base", "")), values)
    request, axes = request_of(form), axes_of(form)
    if not axes:
        form.errors["form"] = NOTHING_VARIED
        return form, None
    axis_places = [place for place, _axis in axes]
    body = {"request": request, "axes": [axis for _place, axis in axes]}
    serializer = GridSerializer(data=body, context={"principal": principal})
    if serializer.is_valid():
        return form, serializer
    form.errors = place_errors(serializer.errors, axis_places)
    return form, None


def read_base(text: str) -> JsonObject:
    try:
        base = parse_json_text(text) if text else {}
    except (ParseError, ValidationError):
        return {}
    return clean_base(base) if isinstance(base, dict) else {}


def clean_base(request: Mapping[str, Any]) -> JsonObject:
    """Without what a preset named: its fields are in the request."""
    left_out = (*NOT_IN_GRID, "prompt", "preset")
    return {name: value for name, value in request.items() if name not in left_out and value is not None}


def request_of(form: VariantsForm) -> JsonObject:
    request = {**form.base, "prompt": form.values["prompt"]}
    if seeds := split(form.values["seeds"]):
        request["seed"] = seeds[0]
    return request


def axes_of(form: VariantsForm) -> list[tuple[str, dict[str, Any]]]:
    """Each with the place of what is said wrongly of it. The one of most values goes from left to right: screens are wide."""
    values = form.values
    parameter, prompts, seeds = split(values["amounts"]), lines(values["variants"]), split(values["seeds"])
    found: list[tuple[str, dict[str, Any]]] = []
    if values["parameter"] and parameter:
        found.append(("amounts", {"field": values["parameter"], "values": parameter}))
    if prompts:
        part = values["part"] or values["prompt"]
        found.append(("variants", {"field": "prompt", "part": part, "values": list(dict.fromkeys([part, *prompts]))}))
    if len(seeds) > 1:
        found.append(("seeds", {"field": "seed", "values": seeds}))
    return sorted(found, key=lambda one: -len(one[1]["values"]))


def split(text: str) -> list[Any]:
    """By semicolons where there are some: texts have commas of their own."""
    parts = text.split(";" if ";" in text else ",")
    return list(dict.fromkeys(read_value(part.strip()) for part in parts if part.strip()))


def lines(text: str) -> list[str]:
    return list(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))


def read_value(text: str) -> Any:
    """A number where it is one: the picture's labels name numbers."""
    if not NUMBER.fullmatch(text):
        return {"yes": True, "no": False, DEFAULT: None}.get(text, text)
    return float(text) if "." in text else int(text)


def place_errors(errors: object, axis_places: Sequence[str]) -> dict[str, object]:
    """By the place on the page; what has none of its own is named."""
    texts: dict[str, Any] = {}
    for error in field_errors(errors):
        name, detail = error["field"], in_language(error["detail"])
        place = place_of(name, axis_places)
        if place == "form" and name.startswith("request."):
            detail = f"{name.removeprefix('request.')}: {detail}"
        texts[place] = " ".join(filter(None, [texts.get(place), detail]))
    return texts


def place_of(name: str, axis_places: Sequence[str]) -> str:
    if name == "request.prompt":
        return "prompt"
    if name == "request.seed":
        return "seeds"
    parts = name.split(".")
    if parts[0] != "axes" or len(parts) < 2 or not parts[1].isdecimal() or int(parts[1]) >= len(axis_places):
        return "form"
    place, about = axis_places[int(parts[1])], parts[2] if len(parts) > 2 else ""
    if about == "part":
        return "part"
    return "parameter" if about == "field" and place == "amounts" else place


# ---------------------------------------------------------------- what was asked before


def variants_of_request(request: Mapping[str, Any], make_query: str = "") -> VariantsForm:
    """What is varied is still to be said."""
    seed = request.get("seed")
    seeds = f"{seed}, {seed + 1}, {seed + 2}" if isinstance(seed, int) and not isinstance(seed, bool) else ""
    return VariantsForm(
        clean_base(request), {"prompt": str(request.get("prompt") or ""), "seeds": seeds}, make_query=make_query
    )


def variants_of_grid(params: Mapping[str, Any]) -> VariantsForm:
    """What a grid was asked. Axes that the form has no place for are named."""
    form = VariantsForm(clean_base(params["request"]))
    values = {"prompt": str(params["request"].get("prompt") or "")}
    if (seed := params["request"].get("seed")) is not None:
        values["seeds"] = str(seed)
    for axis in params["axes"]:
        typed = ", ".join(DEFAULT if value is None else str(value) for value in axis["values"])
        if axis["field"] == "prompt":
            part = axis.get("part") or values["prompt"]
            values |= {"part": axis.get("part") or "", "variants": "\n".join(one for one in axis["values"] if one != part)}
        elif axis["field"] == "seed":
            values["seeds"] = typed
        elif "parameter" not in values:
            values |= {"parameter": axis["field"], "amounts": typed}
        else:
            form.notes.append(str(_("The form varies one parameter: %(name)s is left out.")) % {"name": axis["field"]})
    form.values = values
    return form
