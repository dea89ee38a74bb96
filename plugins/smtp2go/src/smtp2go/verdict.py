"""What an answer means. Source: developers.smtp2go.com/docs/response-codes and the reference of `/email/send`."""

import json
import re
from dataclasses import dataclass
from typing import Any

# How long to wait when SMTP2GO does not say how long, in seconds: who asks too often is left out for a minute.
THROTTLED_SECONDS = 60
BUSY_SECONDS = 5
# Characters of SMTP2GO's own words that are told.
_WORDS_MAX = 120


@dataclass(frozen=True)
class Sent:
    """SMTP2GO took the email."""

    email_id: str | None


@dataclass(frozen=True)
class Refused:
    """It did not, and `kind` says what that means: a case of the contract's `delivery-error`."""

    kind: str
    detail: str
    seconds: int = 0


def of(status: int, retry_after: str | None, body: bytes) -> Sent | Refused:
    """What came of an email."""
    said = _read(body)
    data = said.get("data")
    data = data if isinstance(data, dict) else {}
    if 200 <= status < 300:
        return _taken(status, data)
    # The specification has errors within `data`, and the page of codes has them beside it.
    error = data if "error_code" in data else said
    code = str(error.get("error_code", "")).removeprefix("E_ApiResponseCodes.")
    words = str(error.get("error", ""))[:_WORDS_MAX]
    detail = f"SMTP2GO answered with HTTP {status}" + (f", {code}" if code else "") + (f": {words}" if words else "")
    if status in (429, 503):
        wait = THROTTLED_SECONDS if status == 429 else BUSY_SECONDS
        asked = int(retry_after) if re.fullmatch("[0-9]{1,9}", retry_after or "") else wait
        return Refused("temporary", detail, min(max(asked, 1), 3600))
    # A key that may not send is told as 400.
    if status in (401, 403, 404) or code in ("ENDPOINT_PERMISSION_DENIED", "ENDPOINT_NOT_FOUND"):
        return Refused("misconfigured", detail)
    if status >= 500:
        # It had the email when it failed: nobody knows how far it got.
        return Refused("unknown", detail)
    field = _field(error.get("field_validation_errors"))
    if field == "to":
        return Refused("invalid-recipient", detail)
    if field in ("sender", "custom_headers"):
        return Refused("misconfigured", detail)
    return Refused("rejected", detail)


def _taken(status: int, data: dict[str, Any]) -> Sent | Refused:
    """HTTP says that it went well; of the one recipient, the answer says so."""
    email_id = data.get("email_id")
    email_id = email_id if isinstance(email_id, str) and email_id else None
    failures = data.get("failures")
    if data.get("failed") or failures:
        words = str(failures[0] if isinstance(failures, list) and failures else "no reason")[:_WORDS_MAX]
        return Refused("rejected", f"SMTP2GO did not send it: {words}")
    if data.get("succeeded") or email_id is not None:
        return Sent(email_id)
    return Refused("unknown", f"SMTP2GO answered with HTTP {status} and did not say what became of the email")


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _field(errors: Any) -> str:
    """Which field of the request is wrong: the specification has one, and lists of them were seen."""
    first = errors[0] if isinstance(errors, list) and errors else errors
    name = first.get("fieldname") if isinstance(first, dict) else None
    return name.split("[")[0].split(".")[0] if isinstance(name, str) else ""
