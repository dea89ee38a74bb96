"""Verifies webhooks with the library of Standard Webhooks from PyPI.

Reads a list of {secret, headers, body} on standard input; fails at the first that does not hold, and at one whose
body was changed by a byte and that holds nevertheless.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for webhook in json.load(sys.stdin):
    verifier = Webhook(webhook["secret"])
    verifier.verify(webhook["body"], webhook["headers"])
    try:
        verifier.verify(webhook["body"] + " ", webhook["headers"])
    except WebhookVerificationError:
        continue
    sys.exit("a changed body was taken")
