"""An issuer of OpenID Connect on loopback, for tests: oidc-provider-mock, which stands on
Authlib and shares no code with ours.

It adds what the package leaves open: the client's secret is checked, and PKCE is (RFC 7636). And it does
wrong what a test asks for: `POST /test/next` says how the next ID token differs, `POST /test/rotate` makes
the issuer sign with another key. `GET /test/now` is its time. `POST /test/button` is what an issuer's own
button on a page gives: an ID token that nobody asked for by a redirect, and that has no nonce.

Says `{"port": …}` when it listens, and ends when its input ends, so that no test leaves it behind.
"""

import base64
import hashlib
import json
import logging
import os
import sys
import threading
import time
from urllib.parse import parse_qs, unquote_plus, urlparse

import flask
import oidc_provider_mock
import werkzeug.serving
from authlib import jose
from oidc_provider_mock._storage import storage

CLIENT = ("wotp-client", "hush & tell: 100%")

app = oidc_provider_mock.app(require_nonce=True)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
challenges = {}
next_token = {}


def refuse(words):
    response = flask.jsonify({"error": "invalid_grant", "error_description": words})
    response.status_code = 400
    return response


@app.before_request
def check_client_and_verifier():
    if flask.request.path != "/oauth2/token":
        return None
    sent = flask.request.authorization
    # Both were form-encoded before they were put together (RFC 6749, section 2.3.1).
    if sent is None or (unquoted(sent.username), unquoted(sent.password)) != CLIENT:
        return refuse("another client, or another secret")
    verifier = flask.request.form.get("code_verifier", "")
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if not verifier or challenges.pop(flask.request.form.get("code"), None) != challenge:
        return refuse("no code of ours, or another verifier")
    return None


def unquoted(text):
    return unquote_plus(text or "")


@app.after_request
def keep_challenge_and_spoil_token(response):
    if flask.request.path == "/oauth2/authorize" and response.status_code == 302:
        assert flask.request.args["code_challenge_method"] == "S256"
        for code in parse_qs(urlparse(response.location).query).get("code", []):
            challenges[code] = flask.request.args["code_challenge"]
    if flask.request.path == "/oauth2/token" and response.status_code == 200 and next_token:
        said = response.get_json()
        said["id_token"] = spoilt(dict(jose.jwt.decode(said["id_token"], storage.jwk)), next_token)
        next_token.clear()
        response.set_data(json.dumps(said))
    return response


def spoilt(claims, how):
    key, header = storage.jwk, {"alg": "RS256", "kid": storage.jwk.thumbprint()}
    if how.get("unknown_key"):
        key = jose.RSAKey.generate_key(is_private=True)
        header["kid"] = key.thumbprint()
    header.update(how.get("header", {}))
    claims.update(how.get("claims", {}))
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jose.jwt.encode(header, claims, key).decode()
    if how.get("unsigned"):
        body = token.split(".")[1]
        header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        token = f"{header}.{body}."
    return token


@app.post("/test/button")
def press_button():
    how = flask.request.get_json()
    user, at = storage.get_user(how["sub"]), int(time.time())
    issuer = flask.request.host_url.rstrip("/")
    claims = {"iss": issuer, "aud": CLIENT[0], "sub": user.sub, "iat": at, "exp": at + 3600, **user.claims}
    return spoilt(claims, how)


@app.post("/test/next")
def say_next():
    next_token.update(flask.request.get_json())
    return "", 204


@app.post("/test/rotate")
def rotate():
    storage.jwk = jose.RSAKey.generate_key(is_private=True)
    return "", 204


@app.get("/test/now")
def now():
    return str(int(time.time()))


server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(json.dumps({"port": server.port}), flush=True)
server.serve_forever()
