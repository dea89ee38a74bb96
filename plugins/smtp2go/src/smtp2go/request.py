"""The request for an email. Source: developers.smtp2go.com/reference/send-standard-email."""

import json
from typing import Any

from smtp2go.config import Config

# The header that names an email in what is told later. It has to be named in the webhook's settings at SMTP2GO.
REFERENCE = "X-WOTP-Reference"


def url(config: Config) -> str:
    """Where it is sent."""
    return f"{config.api}/v3/email/send"


def body(message: Any, config: Config, reference: str | None) -> bytes:
    """What is sent. `reference` is the email's name in what SMTP2GO tells later."""
    # RFC 3834: so that nobody's holiday answers a code.
    headers = [{"header": "Auto-Submitted", "value": "auto-generated"}]
    if config.reply_to is not None:
        headers.append({"header": "Reply-To", "value": config.reply_to})
    if reference is not None:
        headers.append({"header": REFERENCE, "value": reference})
    email = {
        "sender": f"{_quoted(config.sender_name or message.brand)} <{config.sender}>".lstrip(),
        "to": [message.to],
        "subject": _line(message.subject),
        "text_body": message.text,
        "custom_headers": headers,
        # Otherwise an address that is on the list of those that bounced would be taken first and refused later.
        "fastaccept": False,
    }
    return json.dumps(email, ensure_ascii=False).encode()


def _line(text: str) -> str:
    """A text on one line: the brand and the subject may be a tenant's, and a second line would be a header."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _quoted(name: str) -> str:
    """A name beside an address, in which nothing has a meaning. Source: RFC 5322, 3.2.4."""
    name = _line(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}"' if name else ""
