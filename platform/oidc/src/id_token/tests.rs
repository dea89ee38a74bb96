use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::key::KeySet;

const NOW: i64 = 1_800_000_000;
const EXPECTED: Expected<'_> =
    Expected { issuer: "https://id.example.com", client_id: "wotp", bound: Bound::Nonce("n-1") };

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn keys() -> Vec<Key> {
    let x = BASE64URL.encode(pair().public_key().as_ref());
    let unknown = json!({ "kty": "quantum", "kid": "b" });
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a", "use": "sig" });
    serde_json::from_value::<KeySet>(json!({ "keys": [unknown, key] })).unwrap().usable()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "wotp", "sub": "ann", "nonce": "n-1",
        "exp": NOW + 300, "iat": NOW, "email": "ann@example.com", "email_verified": true,
    })
}

fn token(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = BASE64URL.encode(pair().sign(message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

fn read(token: &str) -> Result<Claims, TokenError> {
    verify(&parse(token)?, &keys(), &EXPECTED, now())
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "a", "typ": "JWT" })
}

/// What comes of the token whose claims are changed like this.
fn with(change: impl FnOnce(&mut Value)) -> Result<Claims, TokenError> {
    let mut claims = claims();
    change(&mut claims);
    read(&token(&header(), &claims))
}

#[track_caller]
fn assert_refused(read: Result<Claims, TokenError>, error: TokenError) {
    assert_eq!(read.map(|_| ()), Err(error));
}

#[test]
fn a_token_that_holds_says_who_it_is() {
    let claims = read(&token(&header(), &claims())).unwrap();
    assert_eq!((claims.sub.as_str(), claims.email.as_deref()), ("ann", Some("ann@example.com")));
    assert!(claims.email_verified);
}

#[test]
fn an_address_is_verified_only_when_the_issuer_says_so() {
    for (value, verified) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(1), false),
        (Value::Null, false),
    ] {
        let said = with(|claims| claims["email_verified"] = value.clone()).unwrap();
        assert_eq!(said.email_verified, verified, "{value}");
    }
    let silent = with(|claims| _ = claims.as_object_mut().unwrap().remove("email_verified")).unwrap();
    assert!(!silent.email_verified);
}

#[test]
fn a_token_of_another_issuer_client_or_sign_in_is_refused() {
    assert_refused(with(|claims| claims["iss"] = json!("https://id.example.com/")), TokenError::Issuer);
    assert_refused(with(|claims| claims["aud"] = json!("other")), TokenError::Audience);
    assert_refused(with(|claims| claims["aud"] = json!([])), TokenError::Audience);
    assert_refused(with(|claims| claims["aud"] = json!(["wotp", "other"])), TokenError::Audience);
    assert_refused(with(|claims| claims["azp"] = json!("other")), TokenError::Audience);
    assert!(with(|claims| (claims["aud"], claims["azp"]) = (json!(["wotp", "other"]), json!("wotp"))).is_ok());
    assert_refused(with(|claims| claims["nonce"] = json!("n-2")), TokenError::Nonce);
    assert_refused(with(|claims| _ = claims.as_object_mut().unwrap().remove("nonce")), TokenError::Nonce);
    assert_refused(with(|claims| claims["sub"] = json!("")), TokenError::Subject);
}

#[test]
fn a_token_counts_in_its_time_only() {
    assert!(with(|claims| claims["exp"] = json!(NOW - 59)).is_ok());
    assert_refused(with(|claims| claims["exp"] = json!(NOW - 60)), TokenError::Expired);
    assert_refused(with(|claims| _ = claims.as_object_mut().unwrap().remove("exp")), TokenError::Expired);
    assert_refused(with(|claims| claims["iat"] = json!(NOW + 61)), TokenError::Future);
    assert_refused(with(|claims| _ = claims.as_object_mut().unwrap().remove("iat")), TokenError::Future);
    assert_refused(with(|claims| claims["nbf"] = json!(NOW + 61)), TokenError::Future);
    assert_refused(with(|claims| claims["exp"] = json!("tomorrow")), TokenError::Form);
}

#[test]
fn no_algorithm_is_taken_but_those_with_public_keys() {
    for algorithm in ["none", "None", "HS256", "RS1", ""] {
        let token = token(&json!({ "alg": algorithm, "kid": "a" }), &claims());
        assert_refused(read(&token), TokenError::Algorithm);
    }
    // The key is there, and of another kind.
    for algorithm in ["RS256", "PS256", "ES256"] {
        let token = token(&json!({ "alg": algorithm, "kid": "a" }), &claims());
        assert_refused(read(&token), TokenError::UnknownKey);
    }
}

#[test]
fn a_token_of_an_unknown_key_or_with_another_signature_is_refused() {
    assert_refused(read(&token(&json!({ "alg": "EdDSA", "kid": "c" }), &claims())), TokenError::UnknownKey);
    assert!(read(&token(&json!({ "alg": "EdDSA" }), &claims())).is_ok(), "a token need not name its key");
    let [one, other] = [claims(), json!({ "sub": "ben" })].map(|claims| token(&header(), &claims));
    let (message, _) = one.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    assert_refused(read(&format!("{message}.{signature}")), TokenError::Signature);
    assert_refused(read(&format!("{message}.")), TokenError::Signature);
}

#[test]
fn what_is_no_token_is_refused() {
    for text in ["", ".", "..", "a.b.c", "e30.e30.e30", "e30.e30", "e30.e30.e30.e30"] {
        assert_refused(read(text), TokenError::Form);
    }
    assert_refused(read(&token(&json!({ "alg": "EdDSA", "crit": ["b64"] }), &claims())), TokenError::Critical);
}

#[test]
fn a_token_that_a_page_got_by_itself_is_of_the_last_moments_and_bound_to_no_sign_in() {
    let bound = || Bound::Age(SignedDuration::from_mins(10));
    let read = |change: fn(&mut Value)| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("nonce");
        change(&mut claims);
        let expected = Expected { bound: bound(), ..EXPECTED };
        verify(&parse(&token(&header(), &claims))?, &keys(), &expected, now())
    };
    assert_eq!(read(|_| ()).unwrap().sub, "ann");
    read(|claims| claims["iat"] = (NOW - 599).into()).unwrap();
    assert_refused(read(|claims| claims["iat"] = (NOW - 600).into()), TokenError::Old);
    assert_refused(read(|claims| claims["iat"] = Value::Null), TokenError::Future);
    // What was made for a sign-in of ours, or of somebody else's, is for that alone.
    for nonce in ["n-1", ""] {
        let mut claims = claims();
        claims["nonce"] = nonce.into();
        let expected = Expected { bound: bound(), ..EXPECTED };
        let read = verify(&parse(&token(&header(), &claims)).unwrap(), &keys(), &expected, now());
        assert_refused(read, TokenError::Nonce);
    }
    assert_refused(read(|claims| claims["aud"] = "another".into()), TokenError::Audience);
}
