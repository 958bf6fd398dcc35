"""The secret key: made on the first run and kept in the data folder, readable by its owner alone; and texts that it encrypts."""

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken


def read_or_make_secret_key(path: Path) -> str:
    """The key in `path`; several processes that start at once agree on one, since the file is linked into place whole."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text().strip()


class Unreadable(Exception):
    """It was encrypted with another key."""


def encrypt_text(text: str, secret_key: str) -> str:
    return fernet(secret_key).encrypt(text.encode()).decode()


def decrypt_text(encrypted: str, secret_key: str) -> str:
    """Raises Unreadable."""
    try:
        return fernet(secret_key).decrypt(encrypted.encode()).decode()
    except InvalidToken:
        raise Unreadable from None


def fernet(secret_key: str) -> Fernet:
    """With a key derived from the server's, so that what is encrypted says nothing of what else is signed with that."""
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"darkroom: encrypted texts\0" + secret_key.encode()).digest()))
