"""What the operator writes about an account."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "An account at SMTP2GO",
    "type": "object",
    "additionalProperties": False,
    "required": ["sender"],
    "properties": {
        "sender": {
            "description": "From which address emails are sent: one of a verified domain, or a verified sender.",
            "type": "string",
            "maxLength": 254,
        },
        "sender_name": {
            "description": "The name beside it; without it, the name of the service that sends.",
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
        },
        "reply_to": {
            "description": "Where answers go, if not to `sender`.",
            "type": "string",
            "maxLength": 254,
        },
        "receipts": {
            "description": "Whether SMTP2GO tells how an email fares. Needs the secret `webhook_secret`, and a webhook in its settings.",
            "type": "boolean",
            "default": False,
        },
        "api": {
            "description": "Where the API is; each region has a host of its own.",
            "type": "string",
            "default": "https://api.smtp2go.com",
        },
    },
}

# An address as everybody writes one. Whether there is such a mailbox, SMTP2GO says.
_ADDRESS = re.compile(r"[^\s@<>\"(),;:\\]+@[^\s@<>\"(),;:\\]+\.[^\s@<>\"(),;:\\]+")
_HOST = re.compile(r"https?://[^/?#\s]+")


@dataclass(frozen=True)
class Config:
    """An account, and as whom it sends."""

    sender: str
    sender_name: str | None = None
    reply_to: str | None = None
    receipts: bool = SCHEMA["properties"]["receipts"]["default"]
    api: str = SCHEMA["properties"]["api"]["default"]

    @classmethod
    def read(cls, config: str) -> "Config":
        """The settings, which the schema allows."""
        return cls(**json.loads(config))

    def problems(self, given: Callable[[str], bool]) -> list[str]:
        """What is wrong with them, in sentences for the operator. `given` says whether there is a secret."""
        found = []
        for name, value in [("sender", self.sender), ("reply_to", self.reply_to)]:
            if value is not None and not _ADDRESS.fullmatch(value):
                found.append(f"`{name}` is no email address, as `codes@example.com` is")
        if self.receipts and not given("webhook_secret"):
            found.append(
                "the secret `webhook_secret` is not there, by which receipts are known to be SMTP2GO's; "
                "give it, or write `receipts = false`"
            )
        if not _HOST.fullmatch(self.api):
            found.append("`api` is scheme and host, as in `https://eu-api.smtp2go.com`")
        return found
