"""The OpenAPI document's table of contents: its operations in order, each with a summary and, where it takes a body, an example."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from drf_spectacular.utils import OpenApiExample

from api.json_types import Json, JsonObject

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAgMAAADXB5lNAAAACVBMVEXctFoUPHjmKCgz0wJyAAAAYElEQVR42mMMZUAFTAyDXEA0FFWA"
    "0YEhAEWAhYGBBUVAgIGBEUXAAYphAoxQVbitZYETdPXtHziBS8V/BgYGhg/IKg5AMVzgA1QVXOAPzEyYwP8DDBuggYmeHEbBKMAHAMPqDlMzTVnnAAAAAElFTkSuQmCC"
)
"""64 × 64 pixels: a red circle over a yellow ground, on blue."""
AN_ID, ANOTHER_ID = "0197c0de-0000-7000-8000-000000000000", "0197c0de-0000-7000-8000-000000000001"
PUT_IDS = "Put the ids of pictures here in it; with these two the answer is 400, `not_found`."
LAYOUT = {
    "variant": {"gradient": "from-blue-500 to-purple-600", "font": "font-serif", "layout": "text-center"},
    "event_data": {"title": "Summer Concert", "description": "Music by the lake, from seven in the evening."},
}
GRID: dict[str, Json] = {
    "request": {"prompt": "a red circle above a blue square", "seed": 7},
    "axes": [{"field": "steps", "values": [4, 8]}, {"field": "guidance_scale", "values": [1, 5]}],
}


@dataclass(frozen=True)
class Operation:
    """`examples`: bodies by their names, each valid as it stands unless its `note` says what it lacks."""

    method: str
    path: str
    summary: str
    examples: Mapping[str, Mapping[str, Json]] | None = None
    note: str = ""


TABLE: dict[tuple[str, str], tuple[Operation, ...]] = {
    ("images", "Make pictures, and look at those that were made."): (
        Operation(
            "POST",
            "/api/txt2img/",
            "Make pictures from a prompt",
            {
                "A prompt": {"prompt": "A serene lake at sunset"},
                "The same picture each time": {"prompt": "a red circle above a blue square", "steps": 20, "seed": 7},
                "Steered by the edges of a picture": {
                    "prompt": "a red circle above a blue square",
                    "control": [{"image": PICTURE, "preprocessor": "canny", "weight": 0.9, "end": 0.8}],
                },
                "The best of four": {"prompt": "a red circle above a blue square", "best_of": 4, "rank_by": "clip"},
            },
        ),
        Operation(
            "POST",
            "/api/img2img/",
            "Make pictures from a picture and a prompt",
            {
                "A picture and a prompt": {"prompt": "a green circle above a yellow square", "image": PICTURE, "strength": 0.6},
                "A picture that grows to the right": {"prompt": "a red circle", "image": PICTURE, "outpaint": {"right": 32}},
            },
        ),
        Operation(
            "POST", "/api/preprocess/", "Make a control map of a picture", {"Its edges": {"image": PICTURE, "kind": "canny"}}
        ),
        Operation(
            "POST",
            "/api/grids/",
            "Vary fields of a request, with all pictures in one",
            {"Steps and guidance": GRID},
        ),
        Operation("POST", "/api/grids/estimate/", "Ask what a grid comes to", {"Steps and guidance": GRID}),
        Operation(
            "POST",
            "/api/prompt/",
            "Read a prompt: its weights, its tokens, what it names",
            {
                "AUTOMATIC1111's notation": {
                    "prompt": "a (red:1.3) circle above a [blue] square",
                    "negative_prompt": "(green:1.2)",
                    "prompt_syntax": "a1111",
                }
            },
        ),
        Operation(
            "POST", "/api/png-info/", "Read the parameters that a picture's file carries", {"A picture": {"image": PICTURE}}
        ),
        Operation(
            "POST", "/api/upscale/", "Enlarge a picture", {"Three times": {"image": PICTURE, "model_id": "lanczos", "scale": 3}}
        ),
        Operation(
            "POST",
            "/hf/text-to-image",
            "Make a picture from a text, for Hugging Face's clients",
            {"A text": {"inputs": "a red circle above a blue square", "parameters": {"num_inference_steps": 20, "seed": 7}}},
        ),
        Operation(
            "POST",
            "/hf/image-to-image",
            "Make a picture from one, for Hugging Face's clients",
            {"A picture and a prompt": {"inputs": PICTURE, "parameters": {"prompt": "a green circle above a yellow square"}}},
        ),
        Operation(
            "POST",
            "/v1/images/generations",
            "Make pictures, as OpenAI's clients ask for them",
            {
                "A prompt": {"prompt": "a red circle above a blue square", "response_format": "b64_json"},
                "With fields of ours": {"prompt": "a red circle", "n": 2, "size": "64x64", "seed": 7, "steps": 20},
            },
        ),
        Operation(
            "POST",
            "/v1/images/edits",
            "Change a picture, as OpenAI's clients ask for it",
            {"A picture and a prompt": {"image": PICTURE, "prompt": "a green circle above a yellow square"}},
        ),
        Operation(
            "POST",
            "/v1/images/variations",
            "Vary a picture, as OpenAI's clients ask for it",
            {"A picture": {"image": PICTURE}},
        ),
        Operation("GET", "/api/images/", "List pictures"),
        Operation("POST", "/api/images/", "Upload a picture, to use it by its id", {"A picture": {"image": PICTURE}}),
        Operation("GET", "/api/images/{id}/", "Show a picture's parameters and scores"),
        Operation("GET", "/api/images/{id}/file/", "Download a picture"),
        Operation("GET", "/api/images/{id}/thumbnail/", "Download a picture's thumbnail"),
        Operation(
            "PATCH",
            "/api/images/{id}/",
            "Rate, mark or tag a picture",
            {"Five stars": {"rating": 5, "favourite": True, "tags": ["lake"]}},
        ),
        Operation("DELETE", "/api/images/{id}/", "Delete a picture"),
        Operation("GET", "/api/presets/", "List presets"),
        Operation(
            "POST",
            "/api/presets/",
            "Give a request a name, for others to begin with",
            {
                "A place for words, and a field that may change": {
                    "name": "product-shot",
                    "description": "Our products, all in the same light",
                    "request": {"prompt": "{prompt} above a blue square, at noon", "steps": 20, "guidance_scale": 5},
                    "parameters": ["steps"],
                }
            },
        ),
        Operation("GET", "/api/presets/{name}/", "Show a preset, also as name@version"),
        Operation(
            "PUT",
            "/api/presets/{name}/",
            "Change a preset, as a new version",
            {"Another prompt": {"request": {"prompt": "{prompt} above a green square, at noon"}}},
        ),
        Operation("DELETE", "/api/presets/{name}/", "Delete a preset with its versions"),
    ),
    ("scoring", "Judge layouts and pictures, and train scorers on what people prefer."): (
        Operation("POST", "/api/score/", "Judge a layout", {"Classes and texts": LAYOUT, "A picture": {"image": PICTURE}}),
        Operation(
            "POST",
            "/api/score/batch/",
            "Judge several layouts in one job",
            {"A picture, and classes and texts": {"items": [{"image": PICTURE}, LAYOUT]}},
        ),
        Operation("GET", "/api/scores/", "List judged layouts"),
        Operation("GET", "/api/scores/{id}/", "Show a judged layout"),
        Operation(
            "POST",
            "/api/clip-score/",
            "Score how well pictures fit prompts",
            {"A picture and two prompts": {"images": [PICTURE], "prompts": ["a red circle", "a blue square"]}},
        ),
        Operation(
            "POST",
            "/hf/zero-shot-image-classification",
            "Choose a picture's label, for Hugging Face's clients",
            {"Two labels": {"inputs": PICTURE, "parameters": {"candidate_labels": ["red circle", "blue square"]}}},
        ),
        Operation(
            "POST",
            "/v1/embeddings",
            "Turn texts and pictures into vectors, for OpenAI's clients",
            {
                "A text and a picture": {"input": ["a red circle", PICTURE]},
                "Short vectors in base64": {"input": "a red circle", "dimensions": 64, "encoding_format": "base64"},
            },
        ),
        Operation("GET", "/api/ratings/", "List ratings"),
        Operation(
            "POST", "/api/ratings/", "Rate a picture or a layout", {"Five stars": {"image": AN_ID, "rating": 5}}, PUT_IDS
        ),
        Operation("GET", "/api/ratings/{id}/", "Show a rating"),
        Operation("DELETE", "/api/ratings/{id}/", "Delete a rating"),
        Operation("GET", "/api/comparisons/", "List comparisons"),
        Operation(
            "POST",
            "/api/comparisons/",
            "Say which of two is preferred",
            {"Two pictures": {"images": [AN_ID, ANOTHER_ID], "preferred": AN_ID}},
            PUT_IDS,
        ),
        Operation("GET", "/api/comparisons/{id}/", "Show a comparison"),
        Operation("DELETE", "/api/comparisons/{id}/", "Delete a comparison"),
        Operation("GET", "/api/scorers/", "List trained scorers"),
        Operation(
            "POST",
            "/api/scorers/",
            "Train a scorer",
            {"On ratings of images": {"name": "mine", "on": "images"}},
            "Until enough was rated or compared, the answer is 400 and says how much is missing.",
        ),
        Operation("GET", "/api/scorers/{name}/", "Show a trained scorer"),
        Operation("DELETE", "/api/scorers/{name}/", "Delete a trained scorer"),
    ),
    ("vision", "Find out what is in a picture."): (
        Operation("POST", "/api/cutout/", "Cut the subject out of a picture", {"A picture": {"image": PICTURE}}),
        Operation("POST", "/api/detect/", "Find things in a picture", {"A picture": {"image": PICTURE, "annotate": True}}),
        Operation(
            "POST", "/api/hazards/", "Find the hazards on the way that a picture shows", {"A picture": {"image": PICTURE}}
        ),
        Operation("POST", "/api/ocr/", "Read the text in a picture", {"A picture": {"image": PICTURE, "languages": ["en"]}}),
        Operation(
            "POST", "/v1/detection", "Find things in a picture, as LocalAI's clients ask", {"A picture": {"image": PICTURE}}
        ),
        Operation("GET", "/api/ocr/languages/", "List the languages that can be read"),
        Operation(
            "POST",
            "/hf/object-detection",
            "Find things in a picture, for Hugging Face's clients",
            {"A picture": {"inputs": PICTURE, "parameters": {"threshold": 0.3}}},
        ),
    ),
    ("chat", "Talk with a model, in OpenAI's language, and read what was said."): (
        Operation("POST", "/v1/chat/completions", "Ask a chat model"),
        Operation(
            "POST",
            "/v1/completions",
            "Write on what was begun, for OpenAI's clients",
            {
                "A beginning": {"prompt": "A red circle", "max_tokens": 8},
                "How likely a text is": {"prompt": "A red circle is", "max_tokens": 0, "echo": True, "logprobs": 1},
            },
        ),
        Operation("POST", "/v1/responses", "Ask a chat model, by OpenAI's Responses"),
        Operation("POST", "/v1/responses/input_tokens", "Count the tokens of a response's input"),
        Operation("GET", "/v1/responses/{response_id}", "Show a response, or its events"),
        Operation("DELETE", "/v1/responses/{response_id}", "Delete a response"),
        Operation("POST", "/v1/responses/{response_id}/cancel", "Cancel a response"),
        Operation("GET", "/v1/responses/{response_id}/input_items", "List what a response was told"),
        Operation("GET", "/v1/models", "List models that chat, make pictures or embed"),
        Operation("GET", "/v1/models/{model_id}", "Show a model that chats, makes pictures or embeds"),
        Operation(
            "POST", "/hf/image-to-text", "Describe a picture, for Hugging Face's clients", {"A picture": {"inputs": PICTURE}}
        ),
        Operation(
            "POST",
            "/hf/visual-question-answering",
            "Ask about a picture, for Hugging Face's clients",
            {"A question": {"inputs": PICTURE, "question": "What colour is the circle?"}},
        ),
        Operation("GET", "/api/conversations/", "List conversations"),
        Operation("GET", "/api/conversations/{id}/", "Show a conversation with its messages"),
        Operation("DELETE", "/api/conversations/{id}/", "Delete a conversation and its jobs"),
        Operation(
            "POST",
            "/api/conversations/{id}/branch/",
            "Go on with another branch of a conversation",
            {"The branch that a job began": {"job": AN_ID}},
            "Put a conversation's id into the address, and here the id of a job from the `branches` of one of its messages.",
        ),
        Operation("POST", "/chat-server/v1/chat/completions", "Ask a chat model, at the older chat server's address"),
        Operation("POST", "/chat-server/v1/chat/completions/torch", "Ask a chat model that PyTorch runs"),
    ),
    ("assistants", "Tools for assistants, in the Model Context Protocol."): (
        Operation(
            "POST",
            "/mcp",
            "Speak the Model Context Protocol",
            {
                "The tools": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                "A picture": {
                    "jsonrpc": "2.0",
                    "id": 2,
                    "method": "tools/call",
                    "params": {"name": "make_picture", "arguments": {"prompt": "a red circle above a blue square", "seed": 7}},
                },
            },
        ),
    ),
    ("jobs", "The history: every request that was accepted."): (
        Operation("GET", "/api/jobs/", "List jobs"),
        Operation("GET", "/api/jobs/{id}/", "Show a job"),
        Operation("GET", "/api/jobs/{id}/events/", "Follow a job"),
        Operation("POST", "/api/jobs/{id}/cancel/", "Cancel a job"),
        Operation("POST", "/api/jobs/{id}/retry/", "Run a job again"),
        Operation("DELETE", "/api/jobs/{id}/", "Delete a job with its files"),
    ),
    ("models", "What can be named as `model_id`."): (
        Operation("GET", "/api/models/", "List models"),
        Operation("GET", "/api/models/{model_id}/preview/", "Show the picture beside a model's file"),
        Operation(
            "POST",
            "/hf/models/{model_id}",
            "Ask a model what it does, for Hugging Face's clients",
            {"A text, for a model that makes pictures": {"inputs": "a red circle above a blue square"}},
        ),
        Operation("POST", "/api/models/{model_id}/load/", "Load a model into memory", {"No fields": {}}),
        Operation("POST", "/api/models/{model_id}/unload/", "Free a model's memory", {"No fields": {}}),
        Operation("GET", "/api/drains/", "List what is taken out of work"),
        Operation("POST", "/api/drains/", "Take a worker or machine out of work", {"A machine": {"hostname": "gpu-1"}}),
        Operation("DELETE", "/api/drains/{drain_id}/", "Bring a worker or machine back to work"),
    ),
    ("status", "How the server is doing."): (
        Operation("GET", "/api/usage/", "Tell what a key has used, and what its limits leave"),
        Operation("GET", "/api/status/", "Show what the server is doing"),
        Operation("GET", "/api/health/", "Ask whether the process answers"),
        Operation("GET", "/api/ready/", "Ask whether jobs can be run"),
        Operation("GET", "/metrics", "Metrics for Prometheus"),
    ),
}
TAGS = [{"name": name, "description": description} for name, description in TABLE]
TAG_OF = {(one.method, one.path): tag for (tag, _), operations in TABLE.items() for one in operations}
LISTED = {(one.method, one.path): one for operations in TABLE.values() for one in operations}
OTHERS = "others"
"""The tag of operations that aren't listed here: those of EXTRA_APPS."""


def tag_of(method: str, path: str) -> str:
    return TAG_OF.get((method, path), OTHERS)


def summary_of(method: str, path: str, docstring: str) -> str:
    """For what isn't listed, the first sentence of its docstring."""
    listed = LISTED.get((method, path))
    return listed.summary if listed else docstring.strip().split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")


def examples_of(method: str, path: str) -> list[OpenApiExample]:
    listed = LISTED.get((method, path))
    if listed is None or listed.examples is None:
        return []
    return [
        OpenApiExample(name, value=value, description=listed.note, request_only=True) for name, value in listed.examples.items()
    ]


def in_order(paths: JsonObject) -> JsonObject:
    """As they are listed, and then the others by their names."""
    places = {path: place for place, path in enumerate(dict.fromkeys(path for _, path in LISTED))}
    ordered: Iterable[str] = sorted(paths, key=lambda path: (places.get(path, len(places)), path))
    return {path: paths[path] for path in ordered}
