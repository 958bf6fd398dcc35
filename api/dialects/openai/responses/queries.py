"""The query parameters of OpenAI's Responses. Others are passed over, as in all of the other servers' APIs."""

from collections.abc import Sequence

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.json_types import JsonObject

USUAL_LIMIT, LARGEST_LIMIT = 20, 100
ORDERS = ("desc", "asc")


def read_stream(request: Request) -> bool:
    value = request.query_params.get("stream") or "false"
    if value not in ("true", "false"):
        raise ValidationError({"stream": ["Must be true or false."]})
    return value == "true"


def read_starting_after(request: Request) -> int:
    """-1: the client has none yet."""
    value = request.query_params.get("starting_after")
    return -1 if value is None else read_number("starting_after", value, 0, 999_999_999)


def read_number(name: str, value: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not least <= int(value) <= most:
        raise ValidationError({name: [f"Must be a whole number from {least} to {most}."]})
    return int(value)


def page_of(items: Sequence[JsonObject], request: Request) -> JsonObject:
    """The newest first, unless it is asked for otherwise."""
    given = request.query_params
    limit = read_number("limit", given.get("limit") or str(USUAL_LIMIT), 1, LARGEST_LIMIT)
    order = given.get("order") or "desc"
    if order not in ORDERS:
        raise ValidationError({"order": [f"Must be {' or '.join(ORDERS)}."]})
    rows = list(items) if order == "asc" else list(reversed(items))
    if after := given.get("after"):
        places = [place for place, item in enumerate(rows) if item["id"] == after]
        if not places:
            raise ValidationError({"after": [f"There is no item with the id {after[:100]!r}."]})
        rows = rows[places[0] + 1 :]
    page = rows[:limit]
    ids = [item["id"] for item in page]
    return {
        "object": "list",
        "data": page,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": len(rows) > limit,
    }
