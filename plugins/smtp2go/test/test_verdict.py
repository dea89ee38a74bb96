import json
import unittest

from smtp2go import verdict
from smtp2go.verdict import Refused, Sent


def of(status, body, retry_after=None):
    return verdict.of(status, retry_after, body if isinstance(body, bytes) else json.dumps(body).encode())


# As the reference of `/email/send` shows it.
TAKEN = {
    "request_id": "aa253464-0bd0-467a-b24b-6159dcd7be60",
    "data": {"succeeded": 1, "failed": 0, "failures": [], "email_id": "1u0SwL-B9zBpi9ffUq-JAB2"},
}


def error(code, **more):
    return {"error": "Some words", "error_code": f"E_ApiResponseCodes.{code}", **more}


class Verdict(unittest.TestCase):
    def test_what_smtp2go_took_is_sent_under_its_name(self):
        self.assertEqual(of(200, TAKEN), Sent("1u0SwL-B9zBpi9ffUq-JAB2"))
        # As it is where it is taken at once and sent later, which is to become the default.
        self.assertEqual(of(200, {"data": {"email_id": "1u0"}}), Sent("1u0"))
        self.assertEqual(of(200, {"data": {"succeeded": 1}}), Sent(None))

    def test_an_email_that_failed_at_once_is_refused_in_smtp2gos_words(self):
        failed = {"data": {"succeeded": 0, "failed": 1, "failures": ["Address is suppressed " + "x" * 200]}}
        told = of(200, failed)
        self.assertEqual(told.kind, "rejected")
        self.assertIn("Address is suppressed", told.detail)
        self.assertLess(len(told.detail), 200)
        self.assertEqual(of(200, {"data": {"failed": 1}}).kind, "rejected")

    def test_an_error_says_what_happens_next_in_both_of_its_shapes(self):
        for status, code, kind in [
            (400, "ENDPOINT_PERMISSION_DENIED", "misconfigured"),
            (400, "API_EXCEPTION", "rejected"),
            (400, "NON_VALIDATING_IN_PAYLOAD", "rejected"),
            (401, "ANY", "misconfigured"),
            (402, "ANY", "rejected"),
            (403, "ANY", "misconfigured"),
            (404, "ANY", "misconfigured"),
            (429, "ANY", "temporary"),
            (500, "ANY", "unknown"),
            (502, "ANY", "unknown"),
            (503, "ANY", "temporary"),
            (504, "ANY", "unknown"),
        ]:
            for body in (error(code), {"request_id": "1", "data": error(code)}):
                told = of(status, body)
                self.assertEqual(told.kind, kind, (status, code))
                self.assertIn(f"HTTP {status}, {code}: Some words", told.detail)

    def test_a_wrong_field_is_whose_it_is(self):
        for field, kind in [
            ("to", "invalid-recipient"),
            ("to[0]", "invalid-recipient"),
            ("sender", "misconfigured"),
            ("text_body", "rejected"),
        ]:
            wrong = {"fieldname": field, "message": "x"}
            for errors in (wrong, [wrong]):
                body = error("NON_VALIDATING_IN_PAYLOAD", field_validation_errors=errors)
                self.assertEqual(of(400, body).kind, kind, field)

    def test_who_asks_too_often_waits(self):
        waits = [of(429, error("ANY"), after).seconds for after in (None, "7", "0", "99999", "soon", "²", "9" * 5000)]
        self.assertEqual(waits, [60, 7, 1, 3600, 60, 60, 60])
        self.assertEqual(of(503, b"").seconds, 5)

    def test_an_answer_that_is_none_is_read_by_its_status(self):
        for body in [b"", b"<html>", b"\xff", b"[]", b"null", b'{"data":[]}', b'{"data":null}']:
            self.assertEqual(of(200, body).kind, "unknown", body)
            self.assertEqual(of(400, body).kind, "rejected", body)
            self.assertIsInstance(of(500, body), Refused)
