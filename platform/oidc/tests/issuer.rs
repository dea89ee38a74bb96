//! Against a real issuer, which shares no code with ours.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::SignedDuration;
use serde_json::{Value, json};
use wotp_core::domain::Timestamp;
use wotp_core::ports::{AuthorizationAsked, CodeRedeemed, Identity, IdentityError, IdentityProvider as _};
use wotp_oidc::{OidcProvider, Settings};
use wotp_test_servers::OidcIssuer;

const PAGE: &str = "https://app.example.com/signed-in";
const VERIFIER: &str = "a-code-verifier-of-forty-three-characters-x";
const NONCE: &str = "a-nonce";

struct Stage {
    issuer: OidcIssuer,
    provider: OidcProvider,
    now: Timestamp,
}

fn provider(issuer: &str, change: impl FnOnce(&mut Settings)) -> OidcProvider {
    let mut settings = Settings {
        name: "mock".to_owned(),
        display_name: "Mock".to_owned(),
        issuer: issuer.to_owned(),
        client_id: OidcIssuer::CLIENT_ID.to_owned(),
        client_secret: OidcIssuer::CLIENT_SECRET.to_owned().into(),
        redirect_uris: vec![PAGE.to_owned()],
    };
    change(&mut settings);
    OidcProvider::new(settings).unwrap()
}

impl Stage {
    fn set() -> Self {
        let issuer = OidcIssuer::start();
        issuer.says_of("ann", &json!({ "email": "ann@example.com", "email_verified": true, "name": "Ann" }));
        let provider = provider(&issuer.url(), |_| {});
        let now = Timestamp::from_second(issuer.now_seconds()).unwrap();
        Self { issuer, provider, now }
    }

    /// A person's code, from the issuer.
    async fn code(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes());
        let asked = AuthorizationAsked {
            redirect_uri: PAGE,
            state: "a state & more",
            nonce: NONCE,
            code_challenge: &BASE64URL.encode(digest),
        };
        let url = self.provider.authorization_url(asked, self.now).await.unwrap();
        let came_back = self.issuer.sign_in(&url, "ann");
        assert_eq!(came_back.page, PAGE);
        assert_eq!(came_back.state.replace('+', "%20"), "a%20state%20%26%20more");
        came_back.code
    }

    async fn redeem(&self, code: &str) -> Result<Identity, IdentityError> {
        let redeemed = CodeRedeemed { code, redirect_uri: PAGE, code_verifier: VERIFIER, nonce: NONCE };
        self.provider.identify(redeemed, self.now).await
    }

    /// What comes of a sign-in whose ID token differs like this.
    async fn with(&self, how: Value) -> Result<Identity, IdentityError> {
        let code = self.code().await;
        self.issuer.next_token(&how);
        self.redeem(&code).await
    }
}

/// That a token was refused, in these words.
#[track_caller]
fn assert_token_refused(result: Result<Identity, IdentityError>, words: &str) {
    let Err(IdentityError::Token(source)) = result else {
        panic!("{:?}", result.map(|_| ()).map_err(|e| e.to_string()))
    };
    assert_eq!(source.to_string(), words);
}

#[tokio::test]
async fn a_person_who_signed_in_there_is_known_here() {
    let stage = Stage::set();
    let code = stage.code().await;
    let identity = stage.redeem(&code).await.unwrap();
    assert_eq!(identity.subject, "ann");
    assert_eq!(identity.email.as_deref(), Some("ann@example.com"));
    assert!(identity.email_verified);
    assert_eq!(identity.name.as_deref(), Some("Ann"));
}

#[tokio::test]
async fn a_code_is_taken_once_and_only_with_its_verifier_and_the_clients_secret() {
    let stage = Stage::set();
    let code = stage.code().await;
    stage.redeem(&code).await.unwrap();
    assert!(matches!(stage.redeem(&code).await, Err(IdentityError::Code(_))), "a replayed code");

    let code = stage.code().await;
    let redeemed = CodeRedeemed { code: &code, redirect_uri: PAGE, code_verifier: "another", nonce: NONCE };
    assert!(matches!(stage.provider.identify(redeemed, stage.now).await, Err(IdentityError::Code(_))));

    let stranger = provider(&stage.issuer.url(), |settings| settings.client_secret = "guess".to_owned().into());
    let code = stage.code().await;
    let redeemed = CodeRedeemed { code: &code, redirect_uri: PAGE, code_verifier: VERIFIER, nonce: NONCE };
    assert!(matches!(stranger.identify(redeemed, stage.now).await, Err(IdentityError::Code(_))));
}

#[tokio::test]
async fn a_token_that_is_not_for_this_sign_in_is_refused() {
    let stage = Stage::set();
    let of = |claims: Value| stage.with(json!({ "claims": claims }));
    assert_token_refused(of(json!({ "nonce": "another" })).await, "it is for another sign-in");
    assert_token_refused(of(json!({ "nonce": null })).await, "it is for another sign-in");
    assert_token_refused(of(json!({ "aud": "another" })).await, "it is for another client");
    assert_token_refused(of(json!({ "azp": "another" })).await, "it is for another client");
    assert_token_refused(of(json!({ "iss": "https://id.example.com" })).await, "it is of another issuer");
    let past = stage.now.as_second() - 61;
    assert_token_refused(of(json!({ "exp": past })).await, "it has expired");
    let future = stage.now.as_second() + 3600;
    assert_token_refused(of(json!({ "iat": future })).await, "it is from the future");
}

#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_is_refused() {
    let stage = Stage::set();
    stage.with(json!({ "claims": {} })).await.unwrap();
    assert_token_refused(stage.with(json!({ "unknown_key": true })).await, "its key is not among the issuer's");
    let unnamed = json!({ "unknown_key": true, "header": { "kid": "" } });
    assert_token_refused(stage.with(unnamed).await, "its key is not among the issuer's");
    let none = stage.with(json!({ "unsigned": true })).await;
    assert_token_refused(none, "its algorithm is not among RS256, PS256, ES256 and EdDSA");
}

#[tokio::test]
async fn an_issuer_may_change_its_key() {
    let mut stage = Stage::set();
    let code = stage.code().await;
    stage.redeem(&code).await.unwrap();
    stage.issuer.rotate_key();
    let code = stage.code().await;
    assert_token_refused(stage.redeem(&code).await, "its signature is not the key's");
    // A moment later the keys are read again.
    stage.now += SignedDuration::from_secs(5);
    let code = stage.code().await;
    stage.redeem(&code).await.unwrap();
    // So they are for a token that names its key.
    stage.issuer.rotate_key();
    stage.now += SignedDuration::from_secs(5);
    stage.with(json!({ "header": {} , "claims": {} })).await.unwrap();
}

#[tokio::test]
async fn where_the_token_holds_no_address_the_user_info_does() {
    let stage = Stage::set();
    let silent = json!({ "claims": { "email": null, "email_verified": null, "name": null } });
    let identity = stage.with(silent).await.unwrap();
    assert_eq!(identity.email.as_deref(), Some("ann@example.com"));
    assert!(identity.email_verified);
    assert_eq!(identity.name.as_deref(), Some("Ann"));
    let other = json!({ "claims": { "email": null, "sub": "ben" } });
    assert_token_refused(stage.with(other).await, "the user info is of another subject");
}

#[tokio::test]
async fn an_issuer_that_is_away_or_another_is_said_to_be() {
    let stage = Stage::set();
    let asked = AuthorizationAsked { redirect_uri: PAGE, state: "s", nonce: NONCE, code_challenge: "c" };
    let other = provider(&stage.issuer.url().replace("127.0.0.1", "localhost"), |_| {});
    // It says that it is localhost too, since it goes by what it is called.
    assert!(other.authorization_url(asked, stage.now).await.is_ok());
    let below = provider(&format!("{}/realm", stage.issuer.url()), |_| {});
    assert!(matches!(below.authorization_url(asked, stage.now).await, Err(IdentityError::Unavailable(_))));
    let url = stage.issuer.url();
    drop(stage.issuer);
    let away = provider(&url, |_| {});
    assert!(matches!(away.authorization_url(asked, stage.now).await, Err(IdentityError::Unavailable(_))));
    let again = away.authorization_url(asked, stage.now + SignedDuration::from_secs(9)).await.unwrap_err();
    let source = std::error::Error::source(&again).unwrap().to_string();
    assert_eq!(source, "it did not answer a moment ago", "nobody waits for it again so soon");
    let later = away.authorization_url(asked, stage.now + SignedDuration::from_secs(10)).await.unwrap_err();
    assert_eq!(std::error::Error::source(&later).unwrap().to_string(), "it could not be called");
}
