use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wotp_core::domain::access_token::{Claims, SigningKey};
use wotp_core::ports::{AccessTokens as _, Entity as _, EntityList, Owner, Stored};
use wotp_server::people::EddsaTokens;

use super::TestPerson;
use crate::app::{TestApp, days, seconds};

const EMAIL: &str = "ada@example.com";

/// The key that signs access tokens now.
pub async fn signing_key(app: &TestApp) -> SigningKey {
    let list = EntityList::of(Owner::Platform);
    let mut rows = app.app.ports().store.list_entities(SigningKey::KIND, &list).await.expect("the store answers");
    Stored::read(rows.pop().expect("a key")).expect("it reads").entity
}

fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// What their access token says.
pub fn claims(person: &TestPerson) -> Claims {
    serde_json::from_value(part(&person.access_token, 1)).expect("claims")
}

#[tokio::test]
async fn an_access_token_says_who_when_and_for_whom_and_no_more() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let header = part(&person.access_token, 0);
    assert_eq!(header, json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": signing_key(&app).await.kid }));
    let now = app.app.ports().clock.now().as_second();
    let expected = json!({
        "iss": "wotp", "aud": "wotp-api", "sub": person.user.to_string(), "sid": person.session,
        "iat": now, "nbf": now, "exp": now + 900,
    });
    assert_eq!(part(&person.access_token, 1), expected);
}

#[tokio::test]
async fn the_published_key_checks_a_token() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let reply = app.get("/.well-known/jwks.json").await;
    let keys = reply.expect(200);
    assert_eq!(reply.header("cache-control"), "public, max-age=3600");
    let [key] = keys["keys"].as_array().expect("keys").as_slice() else { panic!("{keys}") };
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig"))
    );
    assert_eq!(key["kid"], part(&person.access_token, 0)["kid"]);
    assert_eq!(key.as_object().map(|key| key.len()), Some(6), "nothing of the private half");
    let (message, signature) = person.access_token.rsplit_once('.').expect("a signature");
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().expect("a point")).expect("base64url");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(message.as_bytes(), &signature)
        .expect("anybody can check it");
}

#[tokio::test]
async fn no_token_that_we_did_not_sign_lets_anybody_in() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let (key, tokens) = (signing_key(&app).await, EddsaTokens::new());
    let body = person.access_token.split('.').nth(1).expect("a payload");
    let signature = person.access_token.rsplit('.').next().expect("a signature");
    let public = URL_SAFE_NO_PAD.decode(&key.public).expect("base64url");
    let hmac = |message: &str, secret: &[u8]| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()))
    };
    let mut forged = Vec::new();
    for algorithm in ["none", "None", "NONE", "nOnE"] {
        let header = encode(&json!({ "typ": "at+jwt", "alg": algorithm, "kid": key.kid }));
        forged.extend([
            format!("{header}.{body}."),
            format!("{header}.{body}"),
            format!("{header}.{body}.{signature}"),
        ]);
    }
    // Key confusion: the public half as the secret of an HMAC, in each form that it has.
    for secret in [public.as_slice(), key.public.as_bytes()] {
        let message = format!("{}.{body}", encode(&json!({ "typ": "at+jwt", "alg": "HS256", "kid": key.kid })));
        forged.push(format!("{message}.{}", hmac(&message, secret)));
    }
    // Another key under the name of ours, ours under a name that nobody has, and keys that a token brings.
    forged.push(tokens.sign(&claims(&person), &key.kid, &[7; 32]));
    let seed = key.seed(&app.app.ports().vault).expect("it opens");
    forged.push(tokens.sign(&claims(&person), "00000000000000000000000000000000", &seed));
    forged.push(tokens.sign(&claims(&person), "../../dev/null", &seed));
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": tokens.public_half(&[7; 32]) });
    let header = encode(&json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": key.kid, "jwk": jwk }));
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let own = URL_SAFE_NO_PAD.encode(pair.sign(format!("{header}.{body}").as_bytes()));
    forged.push(format!("{header}.{body}.{own}"));
    // Somebody else's claims under a signature of ours.
    let mut other = part(&person.access_token, 1);
    other["sub"] = json!("usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M");
    let header = person.access_token.split('.').next().expect("a header");
    forged.push(format!("{header}.{}.{signature}", encode(&other)));
    forged.push("eyJ".to_owned());
    forged.push(format!("{}.{}", person.access_token, signature));
    for token in forged {
        app.get("/v1/me").key(&token).await.problem(401, "token_refused");
        app.get("/v1/usage").key(&token).await.problem(401, "token_refused");
    }
    app.get("/v1/me").by(&person).await.expect(200);
}

#[tokio::test]
async fn a_token_of_the_wrong_time_issuer_or_audience_lets_nobody_in() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let key = signing_key(&app).await;
    let seed = key.seed(&app.app.ports().vault).expect("it opens");
    let right = claims(&person);
    let call = |claims: Claims| app.get("/v1/me").key(&EddsaTokens::new().sign(&claims, &key.kid, &seed));
    call(right.clone()).await.expect(200);
    call(Claims { nbf: right.nbf + 60, iat: right.iat + 60, ..right.clone() }).await.expect(200);
    for (claims, code) in [
        (Claims { nbf: right.nbf + 61, ..right.clone() }, "token_refused"),
        (Claims { iat: right.iat + 61, ..right.clone() }, "token_refused"),
        (Claims { iss: "https://other.example".to_owned(), ..right.clone() }, "token_refused"),
        (Claims { aud: "another-api".to_owned(), ..right.clone() }, "token_refused"),
        (Claims { sub: right.sid.clone(), ..right.clone() }, "token_refused"),
        (Claims { sid: "ses_01J9ZK3V8X6W5T4S3R2Q1P0N9M".to_owned(), ..right.clone() }, "session_ended"),
        (Claims { sub: "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M".to_owned(), ..right.clone() }, "session_ended"),
        (Claims { exp: right.iat, ..right.clone() }, "token_expired"),
    ] {
        call(claims).await.problem(401, code);
    }
    app.clock.advance(seconds(899));
    call(right.clone()).await.expect(200);
    app.clock.advance(seconds(1));
    call(right).await.problem(401, "token_expired");
}

#[tokio::test]
async fn tokens_that_are_to_hold_longer_than_when_their_key_was_drawn_do() {
    let app = TestApp::start().await;
    let first = app.person(EMAIL).await;
    app.clock.advance(days(30) - seconds(60));
    // The server was started again, with the longest life that the configuration takes.
    let restarted = app.fellow_with(|people| people.access_life = seconds(3600));
    let last = restarted.logged_in(EMAIL).await;
    assert_eq!(part(&last.access_token, 0)["kid"], part(&first.access_token, 0)["kid"]);
    app.clock.advance(seconds(3599));
    app.sweep().await;
    restarted.get("/v1/me").by(&last).await.expect(200);
    app.clock.advance(seconds(1));
    restarted.get("/v1/me").by(&last).await.problem(401, "token_expired");
}

#[tokio::test]
async fn keys_take_turns_and_none_is_used_before_everybody_could_know_it() {
    let app = TestApp::start().await;
    let kid = |token: &str| part(token, 0)["kid"].as_str().expect("a name").to_owned();
    let shown = async || {
        let keys = app.get("/.well-known/jwks.json").await.expect(200);
        let kid = |key: &Value| key["kid"].as_str().expect("a name").to_owned();
        keys["keys"].as_array().expect("keys").iter().map(kid).collect::<Vec<_>>()
    };
    let person = app.person(EMAIL).await;
    let first = kid(&person.access_token);
    assert_eq!(shown().await, std::slice::from_ref(&first));
    app.clock.advance(days(29));
    let both = shown().await;
    assert_eq!(both.len(), 2, "the next one is shown a day before");
    let last = app.logged_in(EMAIL).await;
    assert_eq!(kid(&last.access_token), first);
    app.clock.advance(days(1) - seconds(60));
    let last = app.logged_in(EMAIL).await;
    assert_eq!(kid(&last.access_token), first);
    app.clock.advance(seconds(60));
    let next = app.logged_in(EMAIL).await;
    assert!(kid(&next.access_token) != first && both.contains(&kid(&next.access_token)));
    app.get("/v1/me").by(&last).await.expect(200);
    app.clock.advance(seconds(3660));
    assert!(!shown().await.contains(&first), "what it signed is over");
    app.sweep().await;
    assert_eq!(signing_key(&app).await.kid, kid(&next.access_token), "and it is deleted");
}
