import json
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import gateway
from gateway import Sent


def kind(status, body=b""):
    return gateway.verdict(status, {}, body).kind


class Gateway(unittest.TestCase):
    def test_a_message_is_asked_for_as_the_gateway_wants_it(self):
        message = SimpleNamespace(id="dlv_1", to="+12025550123", text="קוד 482913")
        asked = json.loads(gateway.body(message, {"from": "Acme"}))
        self.assertEqual((asked["to"], asked["text"]), (message.to, message.text))

    def test_a_message_that_the_gateway_took_is_sent(self):
        self.assertEqual(gateway.verdict(201, {}, b'{"id":"m-1"}'), Sent("m-1"))

    def test_what_the_gateway_refuses_says_why(self):
        self.assertEqual(kind(422, b'{"error":"unknown_number"}'), "invalid-recipient")
        self.assertEqual(kind(401), "misconfigured")
        self.assertEqual(kind(400, b'{"error":"text"}'), "rejected")
        self.assertEqual(gateway.verdict(429, {}, b"").seconds, 5)
        self.assertEqual(gateway.verdict(429, {"retry-after": "7"}, b"").seconds, 7)
        # It may have got out.
        self.assertEqual(kind(500), "unknown")
        self.assertEqual(kind(200, b"taken"), "unknown")


if __name__ == "__main__":
    unittest.main()
