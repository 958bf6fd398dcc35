"""What keeps an upload: a job, a picture made from it, somebody's stars. Capabilities sign up from their apps.py."""

_relations: list[str] = []


def register_reference(*relations: str) -> None:
    """`relations`: lookups from StoredFile to rows; while there is one, the file is not swept."""
    _relations.extend(relation for relation in relations if relation not in _relations)


def references() -> tuple[str, ...]:
    return tuple(_relations)
