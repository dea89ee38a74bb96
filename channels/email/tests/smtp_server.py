"""A mail server on loopback for the tests beside it: aiosmtpd, which shares no code with ours.

Says what happens as JSON, one event a line: `listening`, `connected`, `message`. Obeys lines on its
standard input: `mark WORD` is answered with an event, after those of everything before it; `hang-up`
closes every connection. Ends when its input ends, so that no test leaves it behind.

The answers and faults that the arguments name are for recipients that begin with "nobody"; everybody
else gets mail. In an answer, `{to}` and `{text}` stand for the recipient and the message's text.
"""

import argparse
import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

arguments = argparse.ArgumentParser()
arguments.add_argument("--recipient-answer", metavar="REPLY")
arguments.add_argument("--message-answer", metavar="REPLY")
arguments.add_argument("--break-off", choices=["after-data", "after-recipient"])
arguments.add_argument("--login", metavar="USER:PASSWORD")
arguments.add_argument("--tls", choices=["starttls", "tls"])
arguments.add_argument("--certificate", metavar="PEM")
arguments.add_argument("--key", metavar="PEM")
arguments.add_argument("--ascii-only", action="store_true")
arguments = arguments.parse_args()

connections = set()


def tell(event, **what):
    print(json.dumps({"event": event, **what}), flush=True)


def applies(recipient):
    return recipient.startswith("nobody")


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if applies(address):
            if arguments.break_off == "after-recipient":
                server.transport.abort()
            if arguments.recipient_answer:
                return arguments.recipient_answer.format(to=address, text="")
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        # Lines of mail end with CRLF, whatever they ended with where it was written.
        parts = {
            part.get_content_subtype(): part.get_content().replace("\r\n", "\n")
            for part in message.iter_parts()
        }
        if any(applies(to) for to in envelope.rcpt_tos):
            if arguments.break_off == "after-data":
                server.transport.abort()
            if arguments.message_answer:
                text = " ".join(parts["plain"].split())
                return arguments.message_answer.format(to=envelope.rcpt_tos[0], text=text)
        tell(
            "message",
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            headers=[[name, str(value)] for name, value in message.items()],
            text=parts["plain"],
            html=parts["html"],
            tls=session.ssl is not None or arguments.tls == "tls",
            login=session.auth_data,
        )
        return "250 2.0.0 Ok: queued as 4F2A1C"


class Server(SMTP):
    def connection_made(self, transport):
        # Called once more when a connection becomes a TLS one.
        if self._original_transport is None:
            tell("connected")
        super().connection_made(transport)
        connections.add(self)

    def connection_lost(self, error):
        connections.discard(self)
        super().connection_lost(error)


def authenticator(server, session, envelope, mechanism, data):
    given = f"{data.login.decode()}:{data.password.decode()}"
    if given == arguments.login:
        return AuthResult(success=True, auth_data=data.login.decode())
    return AuthResult(success=False, handled=False)


def obey(line):
    command, _, word = line.strip().partition(" ")
    if command == "mark":
        tell("mark", word=word)
    elif command == "hang-up":
        for server in list(connections):
            server.transport.close()
        tell("mark", word="hung-up")


async def main():
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Server(
            Handler(),
            hostname="mail.example.com",
            enable_SMTPUTF8=not arguments.ascii_only,
            tls_context=context if arguments.tls == "starttls" else None,
            require_starttls=arguments.tls == "starttls",
            authenticator=authenticator if arguments.login else None,
            auth_required=bool(arguments.login),
            auth_require_tls=False,
            loop=loop,
        ),
        host="127.0.0.1",
        port=0,
        ssl=context if arguments.tls == "tls" else None,
    )
    tell("listening", port=server.sockets[0].getsockname()[1])
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        obey(line.decode())


# What it would log is about the faults it was asked for.
logging.disable()
asyncio.run(main())
