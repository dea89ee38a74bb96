import hashlib
import hmac
import json
import unittest
import urllib.parse

from smtp2go.receipt import Refusal, Told, received

SECRET = b"0123456789abcdef0123456789abcdef"
# `printf smtp2go | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`
TOKEN = "2c527a9b3d70ae36ba8df03459437a7f12c40d435ff0d05d8e127e0ab34cd9ab"

# As the documentation lists the fields, with the header that the settings name.
EVENT = {
    "event": "delivered",
    "time": "2026-11-30T06:00:00Z",
    "sendtime": "2026-11-30T05:59:58Z",
    "sender": "codes@example.com",
    "rcpt": "ada@example.com",
    "email_id": "1u0SwL-B9zBpi9ffUq-JAB2",
    "subject": "Your code",
    "X-WOTP-Reference": "reference-of-an-email",
}


def holds(data, signature):
    return hmac.compare_digest(hmac.digest(SECRET, data, hashlib.sha256), signature)


def hear(event, token=TOKEN, kind="application/json", body=None):
    if body is None:
        written = json.dumps if kind.startswith("application/json") else urllib.parse.urlencode
        body = written(event).encode()
    return received(token, {"content-type": kind}, body, holds)


class Receipt(unittest.TestCase):
    def test_what_comes_to_the_secret_url_is_news_in_both_ways_that_it_is_told(self):
        for kind in ("application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
            self.assertEqual(hear(EVENT, kind=kind), [Told("reference-of-an-email", "delivered")], kind)

    def test_the_header_comes_in_any_spelling(self):
        for name in ("x-wotp-reference", "X-Wotp-Reference", "x_wotp_reference"):
            event = {**EVENT, name: EVENT["X-WOTP-Reference"]}
            if name != "X-WOTP-Reference":
                del event["X-WOTP-Reference"]
            self.assertEqual(len(hear(event)), 1, name)

    def test_how_an_email_fares_is_read_by_its_event(self):
        def fate(**more):
            return [(told.fate, told.failure) for told in hear({**EVENT, **more})]

        self.assertEqual(fate(event="bounce", bounce="hard"), [("failed", "invalid-recipient")])
        self.assertEqual(fate(event="bounce", bounce="soft"), [("failed", "unavailable")])
        self.assertEqual(fate(event="bounce"), [("failed", "unavailable")])
        self.assertEqual(fate(event="reject"), [("failed", "rejected")])
        for event in ("processed", "open", "click", "spam", "unsubscribe", "resubscribe", "something-new", ""):
            self.assertEqual(fate(event=event), [], event)

    def test_an_email_of_somebody_else_is_no_news(self):
        for reference in ("", "a b", "r" * 81, None, 7):
            self.assertEqual(hear({**EVENT, "X-WOTP-Reference": reference}), [], reference)

    def test_who_does_not_know_the_url_is_not_smtp2go(self):
        for token in ("", "x", TOKEN.upper(), TOKEN[:-1], TOKEN + "0", "0" * 64, f"{TOKEN}/", f"{TOKEN}\n"):
            told = hear(EVENT, token=token)
            self.assertIsInstance(told, Refusal, token)
            self.assertEqual(told.kind, "not-authentic", token)

    def test_what_cannot_be_read_is_said_only_to_smtp2go(self):
        for body in (b"{", b"[]", b"\xff"):
            self.assertEqual(hear(None, body=body).kind, "unreadable", body)
            self.assertEqual(hear(None, body=body, token="0" * 64).kind, "not-authentic")
        form = "application/x-www-form-urlencoded"
        self.assertEqual(hear(None, kind=form, body=b"\xff").kind, "unreadable")
        self.assertEqual(hear(None, kind=form, body=b"a=b&" * 1000).kind, "unreadable")
