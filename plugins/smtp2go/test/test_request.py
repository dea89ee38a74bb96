import json
import unittest
from email import message_from_bytes
from email.policy import default
from types import SimpleNamespace

from smtp2go import request
from smtp2go.config import Config

CONFIG = Config(sender="codes@example.com")


def message(**more):
    fields = {"to": "ada@example.com", "subject": "Your code", "text": "482913\nDo not share it.", "brand": "Acme"}
    return SimpleNamespace(**{**fields, **more})


def body(config=CONFIG, reference=None, **more):
    return json.loads(request.body(message(**more), config, reference))


class Request(unittest.TestCase):
    def test_an_email_is_asked_for_as_the_documentation_has_it(self):
        self.assertEqual(request.url(CONFIG), "https://api.smtp2go.com/v3/email/send")
        self.assertEqual(
            body(),
            {
                "sender": '"Acme" <codes@example.com>',
                "to": ["ada@example.com"],
                "subject": "Your code",
                "text_body": "482913\nDo not share it.",
                "custom_headers": [{"header": "Auto-Submitted", "value": "auto-generated"}],
                "fastaccept": False,
            },
        )

    def test_settings_say_who_sends_and_who_is_answered(self):
        config = Config("codes@example.com", sender_name="Codes", reply_to="help@example.com")
        sent = body(config)
        self.assertEqual(sent["sender"], '"Codes" <codes@example.com>')
        self.assertIn({"header": "Reply-To", "value": "help@example.com"}, sent["custom_headers"])

    def test_an_email_is_named_only_where_receipts_are_wanted(self):
        named = {"header": "X-WOTP-Reference", "value": "ref"}
        self.assertIn(named, body(reference="ref")["custom_headers"])
        self.assertNotIn("X-WOTP-Reference", json.dumps(body()))

    def test_no_name_and_no_subject_is_taken_for_more_than_it_is(self):
        for brand in ['Söhne, "Böse" <b>\r\nBcc: eve@example.org', "back\\slash\\", '"', "a\u2028b\x00c", "", "\r\n"]:
            sent = body(brand=brand, subject=f"{brand}\nBcc: eve@example.org")
            for line in (sent["sender"], sent["subject"]):
                self.assertTrue(line.isprintable(), repr(line))
            read = message_from_bytes(f"From: {sent['sender']}\n\n".encode(), policy=default)
            addresses = read["from"].addresses
            self.assertEqual([address.addr_spec for address in addresses], ["codes@example.com"], repr(brand))
        self.assertEqual(body(brand="")["sender"], "<codes@example.com>")


class Settings(unittest.TestCase):
    def problems(self, given=(), **more):
        config = json.dumps({"sender": "codes@example.com", **more})
        return Config.read(config).problems(lambda name: name in given)

    def test_what_does_not_hold_is_told_in_sentences(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.problems(["webhook_secret"], receipts=True, reply_to="a@b.example"), [])
        for more, words in [
            ({"sender": "codes"}, "`sender` is no email address"),
            ({"sender": "Codes <codes@example.com>"}, "`sender` is no email address"),
            ({"reply_to": "a@b"}, "`reply_to` is no email address"),
            ({"receipts": True}, "`webhook_secret` is not there"),
            ({"api": "https://api.smtp2go.com/v3"}, "scheme and host"),
        ]:
            found = self.problems(**more)
            self.assertEqual(len(found), 1, more)
            self.assertIn(words, found[0])
