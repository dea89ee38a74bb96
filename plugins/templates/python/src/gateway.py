"""SMS through the gateway of {{name}}: `POST https://api.example.com/v1/messages`, which answers 201 and `{"id": "…"}`.

Make it your provider's: host, settings, request, and what its answers mean.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

HOST = "api.example.com"

# What operators may set: JSON Schema 2020-12. The host holds settings against it before they come here.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["from"],
    "properties": {
        "from": {
            "title": "Sender",
            "description": "The name or number that people see.",
            "type": "string",
            "minLength": 1,
            "maxLength": 20,
        }
    },
}

# How long to wait where the gateway does not say, in seconds.
BUSY_SECONDS = 5


@dataclass(frozen=True)
class Sent:
    """The gateway took the message, under this name of its own."""

    id: str


@dataclass(frozen=True)
class Refused:
    """It did not; `kind` says what that means: a case of the contract's `delivery-error`."""

    kind: str
    why: str
    seconds: int = 0


def body(message: Any, config: dict[str, Any]) -> bytes:
    """What is sent for a message."""
    sms = {"from": config["from"], "to": message.to, "text": message.text, "reference": message.id}
    return json.dumps(sms).encode()


def verdict(status: int, headers: dict[str, str], answer: bytes) -> Sent | Refused:
    """What an answer means for the message.

    What no rule here takes is not known to have failed: better that another channel takes the message than that nobody
    does.
    """
    said = _read(answer)
    error = said.get("error", "")
    why = f"HTTP {status} {error}"
    if 200 <= status < 300:
        if isinstance(said.get("id"), str):
            return Sent(said["id"])
        return Refused("unknown", f"{why}without the `id` of a message")
    if error == "unknown_number":
        return Refused("invalid-recipient", why)
    if status in (401, 403):
        return Refused("misconfigured", why)
    if status in (429, 503):
        asked = headers.get("retry-after", "")
        seconds = int(asked) if re.fullmatch("[0-9]{1,9}", asked) else BUSY_SECONDS
        return Refused("temporary", why, min(max(seconds, 1), 3600))
    if 400 <= status < 500:
        return Refused("rejected", why)
    return Refused("unknown", why)


def _read(answer: bytes) -> dict[str, Any]:
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
