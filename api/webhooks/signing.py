"""The headers of a webhook, with its signature as the Standard Webhooks specification says."""

import hashlib
import hmac
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence


def signed_headers(message_id: uuid.UUID, event: str, body: str, keys: Sequence[bytes]) -> dict[str, str]:
    """`keys`: the signing keys, each of which a receiver may have."""
    sent_at = int(time.time())
    content = f"{message_id}.{sent_at}.{body}".encode()
    signatures = [b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "Content-Type": "application/json",
        "webhook-id": str(message_id),
        "webhook-timestamp": str(sent_at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "webhook-event": event,
    }
