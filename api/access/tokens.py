"""The text of a key: `drk_<prefix>_<secret>`. The prefix finds the row, the secret's hash proves the right to it."""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0 and 1, which people mistake for each other
PREFIX_LENGTH = 8
SECRET_BYTES = 32
TOKEN = re.compile(r"drk_([a-z2-9]{8})_([A-Za-z0-9_-]{43})")


class TokenParts(NamedTuple):
    prefix: str
    secret: str


def make_prefix() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(PREFIX_LENGTH))


def make_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def format_token(prefix: str, secret: str) -> str:
    return f"drk_{prefix}_{secret}"


def parse_token(token: str) -> TokenParts | None:
    match = TOKEN.fullmatch(token)
    return TokenParts(*match.groups()) if match else None


def hash_secret(secret: str) -> str:
    """SHA-256 in hex. A slow hash is for passwords: 256 random bits can't be guessed whatever the hash costs."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_matches(secret: str, secret_hash: str) -> bool:
    return hmac.compare_digest(hash_secret(secret), secret_hash)
