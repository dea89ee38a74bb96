"""Email through SMTP2GO: what the host calls. The rest is what it makes of it, and runs anywhere."""

import json

from componentize_py_types import Err
from wit_world.exports import webhook
from wit_world.imports import callback, host, http, receipts, signatures, types

from smtp2go import receipt, request, verdict
from smtp2go.config import SCHEMA, Config


class Delivery:
    def describe(self) -> types.Descriptor:
        def secret(name: str, about: str, optional: bool) -> types.SecretUse:
            return types.SecretUse(name, about, types.SecretPlaces.HEADER, optional)

        return types.Descriptor(
            id="wotp.smtp2go",
            name="SMTP2GO",
            version="0.1.0",
            reaches=[types.AddressKind.EMAIL],
            config_schema=json.dumps(SCHEMA),
            # Each region has a host of its own.
            hosts=["*"],
            secrets=[
                secret("api_key", "An API key that may send emails and needs no other permission.", False),
                secret("webhook_secret", "Any 32 or more letters that nobody can guess; the webhook's URL is made of it.", True),
            ],
            # SMTP2GO takes no key by which it would know an email again.
            idempotent=False,
        )

    def validate(self, config: str) -> None:
        try:
            found = Config.read(config).problems(lambda name: host.secret(name) is not None)
        except (TypeError, ValueError):
            # Whoever installs it sees that it stands what no schema allows.
            found = ["the settings are no object that the schema allows"]
        if found:
            raise Err(found)

    def deliver(self, message: types.Message) -> types.Receipt:
        config = Config.read(message.config)
        key = host.secret("api_key")
        if key is None:
            raise Err(types.DeliveryError_Misconfigured("the secret `api_key` is not there"))
        asked = http.Request(
            method=http.Method.POST,
            url=request.url(config),
            headers=[http.Header("content-type", "application/json"), http.Header("x-smtp2go-api-key", key)],
            body=request.body(message, config, callback.reference() if config.receipts else None),
            timeout_milliseconds=0,
        )
        try:
            answer = http.fetch(asked)
        except Err as error:
            raise Err(_unanswered(error.value)) from None
        retry_after = next((header.value for header in answer.headers if header.name == "retry-after"), None)
        match verdict.of(answer.status, retry_after, answer.body):
            case verdict.Sent(email_id):
                return types.Receipt(email_id, types.Progress.SENT, None)
            case refused:
                raise Err(_error(refused))


class Webhook:
    def receive(self, call: webhook.Call) -> list[receipts.Receipt]:
        def holds(data: bytes, signature: bytes) -> bool:
            key, algorithm = signatures.Key.SECRET, signatures.Algorithm.HMAC_SHA256
            return signatures.verify("webhook_secret", key, algorithm, data, signature)

        headers = {header.name: header.value for header in call.headers}
        match receipt.received(call.path, headers, call.body, holds):
            case receipt.Refusal("unreadable", why):
                raise Err(webhook.Refusal_Unreadable(why))
            case receipt.Refusal(_, why):
                raise Err(webhook.Refusal_NotAuthentic(why))
            case told:
                return [receipts.Receipt(news.reference, _fate(news)) for news in told]


def _error(refused: verdict.Refused) -> types.DeliveryError:
    match refused.kind:
        case "invalid-recipient":
            return types.DeliveryError_InvalidRecipient(refused.detail)
        case "misconfigured":
            return types.DeliveryError_Misconfigured(refused.detail)
        case "temporary":
            return types.DeliveryError_Temporary(types.Pause(refused.detail, refused.seconds))
        case "unknown":
            return types.DeliveryError_Unknown(refused.detail)
        case _:
            return types.DeliveryError_Rejected(refused.detail)


def _unanswered(error: http.Error) -> types.DeliveryError:
    """What it means for an email that its request had no answer. One that may have been sent is of unknown outcome."""
    match error:
        case http.Error_Denied(why):
            return types.DeliveryError_Misconfigured(why)
        case http.Error_Unreachable(why):
            return types.DeliveryError_Temporary(types.Pause(why, verdict.BUSY_SECONDS))
        case http.Error_Timeout():
            return types.DeliveryError_Unknown("SMTP2GO did not answer in time")
        case http.Error_TooLarge():
            return types.DeliveryError_Unknown("the answer is too large")
        case _:
            return types.DeliveryError_Unknown("the connection to SMTP2GO broke")


def _fate(news: receipt.Told) -> receipts.Fate:
    match news.failure:
        case None:
            return receipts.Fate_Delivered()
        case "invalid-recipient":
            return receipts.Fate_Failed(receipts.Failure.INVALID_RECIPIENT)
        case "rejected":
            return receipts.Fate_Failed(receipts.Failure.REJECTED)
        case _:
            return receipts.Fate_Failed(receipts.Failure.UNAVAILABLE)
