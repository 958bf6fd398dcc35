"""What a key has set by POST /sdapi/v1/options."""

from typing import Any

from api.access.principals import Principal


def get(principal: Principal) -> dict[str, Any]:
    return {}
