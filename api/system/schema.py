"""The OpenAPI document: what drf-spectacular reads off the views, and what it can't see there."""

from typing import Any

from drf_spectacular.openapi import AutoSchema


class DarkroomSchema(AutoSchema):
    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.split("/") if part and not part.startswith("{")]
        return [parts[1] if len(parts) > 1 and parts[0] == "api" else parts[0] if parts else "system"]

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_operation(*args, **kwargs)
