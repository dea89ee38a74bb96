"""What the host calls. The rest is in gateway.py, which runs anywhere.

`componentize-py` makes the modules `wit_world` and `componentize_py_types` of wit/channel.wit while it builds.
"""

import json

import gateway
from componentize_py_types import Err
from wit_world.imports import host, http, types


class Delivery:
    def describe(self) -> types.Descriptor:
        token = types.SecretUse(
            name="token",
            about="The API token from your account's page.",
            places=types.SecretPlaces.HEADER,
            optional=False,
        )
        return types.Descriptor(
            id="example.{{name}}",
            name="{{name}}",
            version="0.1.0",
            reaches=[types.AddressKind.PHONE],
            config_schema=json.dumps(gateway.SCHEMA),
            hosts=[gateway.HOST],
            secrets=[token],
            # Only where the provider takes one `message.id` for one message, however often it is sent.
            idempotent=False,
        )

    def validate(self, config: str) -> None:
        """What the schema cannot say. Raise sentences for the operator: `raise Err(["…"])`."""

    def deliver(self, message: types.Message) -> types.Receipt:
        # A mark: the host puts the secret in its place on the way out, and the plugin never sees it.
        token = host.secret("token") or ""
        asked = http.Request(
            method=http.Method.POST,
            url=f"https://{gateway.HOST}/v1/messages",
            headers=[
                http.Header("authorization", f"Bearer {token}"),
                http.Header("content-type", "application/json"),
            ],
            body=gateway.body(message, json.loads(message.config)),
            # As long as there is.
            timeout_milliseconds=0,
        )
        try:
            answer = http.fetch(asked)
        except Err as error:
            raise Err(_unanswered(error.value)) from None
        headers = {header.name: header.value for header in answer.headers}
        match gateway.verdict(answer.status, headers, answer.body):
            case gateway.Sent(name):
                return types.Receipt(name, types.Progress.SENT, None)
            case refused:
                raise Err(_error(refused))


def _error(refused: gateway.Refused) -> types.DeliveryError:
    match refused.kind:
        case "invalid-recipient":
            return types.DeliveryError_InvalidRecipient(refused.why)
        case "misconfigured":
            return types.DeliveryError_Misconfigured(refused.why)
        case "temporary":
            return types.DeliveryError_Temporary(types.Pause(refused.why, refused.seconds))
        case "rejected":
            return types.DeliveryError_Rejected(refused.why)
        case _:
            return types.DeliveryError_Unknown(refused.why)


def _unanswered(error: http.Error) -> types.DeliveryError:
    """What it means for a message that its request had no answer. One that may have been sent is of unknown outcome."""
    match error:
        case http.Error_Denied(why):
            return types.DeliveryError_Misconfigured(why)
        case http.Error_Unreachable(why):
            return types.DeliveryError_Temporary(types.Pause(why, gateway.BUSY_SECONDS))
        case _:
            return types.DeliveryError_Unknown("the gateway gave no answer")
