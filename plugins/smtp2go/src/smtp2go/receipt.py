"""What SMTP2GO tells later. Source: developers.smtp2go.com/docs/webhooks-overview.

SMTP2GO signs nothing. It calls the URL that stands in its settings, so that URL holds what nobody else knows: what HMAC
makes of the secret `webhook_secret` and of `PURPOSE`. The host verifies that, and neither the plugin nor SMTP2GO sees the
secret itself.
"""

import json
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smtp2go.request import REFERENCE

PURPOSE = b"smtp2go"
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TOKEN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Told:
    """The news of one email: `fate` is a case of the contract's, and `failure` why it failed."""

    reference: str
    fate: str
    failure: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Nothing is taken; `kind` is a case of the contract's `refusal`."""

    kind: str
    why: str


def received(path: str, headers: dict[str, str], body: bytes, holds: Callable[[bytes, bytes], bool]) -> list[Told] | Refusal:
    """What a call tells. `holds` says whether a signature is the right one for some data."""
    if not _TOKEN.fullmatch(path):
        return Refusal("not-authentic", "its URL does not end with the 64 digits that stand for the secret")
    if not holds(PURPOSE, bytes.fromhex(path)):
        return Refusal("not-authentic", "the 64 digits that its URL ends with are others")
    fields = _fields(headers.get("content-type", ""), body)
    if fields is None:
        return Refusal("unreadable", "what it tells is neither JSON nor a form")
    reference = fields.get(REFERENCE.lower(), "")
    told = _fate(fields.get("event", ""), fields.get("bounce", ""))
    # Of an email that somebody else sends through this account, or of what is no news.
    if told is None or not _REFERENCE.fullmatch(reference):
        return []
    return [Told(reference, *told)]


def _fate(event: str, bounce: str) -> tuple[str, str | None] | None:
    match event:
        case "delivered":
            return "delivered", None
        case "bounce":
            # A hard one says that there is no such mailbox. A soft one is told when SMTP2GO has given up.
            return "failed", "invalid-recipient" if bounce == "hard" else "unavailable"
        case "reject":
            # The address bounced before, complained or unsubscribed; or the sender is not verified.
            return "failed", "rejected"
        case _:
            # `processed` was known when it was taken. `open` is told of what a machine opened as well.
            return None


def _fields(kind: str, body: bytes) -> dict[str, str] | None:
    """What a call holds, in whichever of the two ways the settings say. Names of headers come in any spelling."""
    try:
        if kind.split(";")[0].strip().lower() == "application/json":
            said = json.loads(body)
            if not isinstance(said, dict):
                return None
        else:
            said = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        return None
    return {name.lower().replace("_", "-"): value for name, value in said.items() if _is_text(value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
