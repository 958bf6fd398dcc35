"""What can be wrong with the options of a bucket before anything is sent: sentences with their cure."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}|arn:.+")
LEAST = {"connect_timeout": 0.1, "read_timeout": 0.1, "attempts": 1, "page_size": 1, "rest_seconds": 0, "querystring_expire": 1}


def find_faults(storage: Any) -> Iterator[str]:
    """Of a storage whose attributes its options are, as django-storages has them."""
    if not BUCKET.fullmatch(str(storage.bucket_name or "")):
        yield f"bucket_name is {storage.bucket_name!r}, which is not the name of a bucket. Set it to one"
    if storage.endpoint_url and not is_address(storage.endpoint_url):
        yield f"endpoint_url is {storage.endpoint_url!r}. Set it to a scheme, a host and at most a port, as https://s3.example.com"
    for name, least in LEAST.items():
        value = getattr(storage, name)
        if not isinstance(value, int | float) or value < least:
            yield f"{name} is {value!r}. Set it to a number from {least:g} on"
    if not isinstance(storage.object_parameters, dict):
        yield f"object_parameters is {storage.object_parameters!r}. Set it to a JSON object"
    if isinstance(storage.verify, str) and not Path(storage.verify).exists():
        yield f"verify names {storage.verify}, which is not there. Set it to the file of the authority's certificate"
    if bool(storage.access_key) != bool(storage.secret_key):
        yield "access_key and secret_key go together, and only one of them is set. Set both, or neither"


def is_address(url: object) -> bool:
    """The bucket goes into bucket_name, not into the path."""
    parts = urlsplit(str(url))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/") and not parts.query
