//! `/v1/auth/oidc`: sign-in by an identity provider.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{BeginSignIn, FinishSignIn};

use super::super::auth::FromAtAnyTime;
use super::super::body::Body;
use super::super::path::InPath;
use super::super::verifications::refused;
use super::super::{Api, Problem, openapi};
use super::cookies;
use super::login::TransportName;
use super::second_factor::{SignInView, stepped};

/// A provider that people may sign in with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IdentityProvider)]
struct ProviderView {
    /// Its name in the API.
    #[schema(example = "google")]
    name: String,
    /// Its name for people.
    #[schema(example = "Google")]
    display_name: String,
    /// The pages that people may come back to.
    #[schema(example = json!(["https://app.example.com/signed-in"]))]
    redirect_uris: Vec<String>,
}

/// The providers that people may sign in with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IdentityProviderList)]
pub(in super::super) struct ProviderListView {
    /// In the operator's order.
    data: Vec<ProviderView>,
}

/// How a sign-in by a provider is to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BeginSignIn)]
pub(in super::super) struct BeginBody {
    /// The page to come back to: one of the provider's `redirect_uris`; left out, the first.
    #[serde(default)]
    #[schema(example = "https://app.example.com/signed-in")]
    redirect_uri: Option<String>,
    /// How the refresh token is to travel.
    #[serde(default)]
    token_transport: TransportName,
}

/// A sign-in that began.
#[derive(Serialize, ToSchema)]
#[schema(as = SignInBegun)]
pub(in super::super) struct BegunView {
    /// Where the browser goes now.
    #[schema(example = "https://accounts.google.com/o/oauth2/v2/auth?response_type=code&…")]
    authorization_url: String,
    /// Until when they may come back: ten minutes.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:10:00Z")]
    expires_at: Timestamp,
}

/// What a person came back with, from the page's own address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CompleteSignIn)]
pub(in super::super) struct CompleteBody {
    /// `state`, as it came.
    #[schema(example = "q3Jv0uXk1m8hT5yWZrNf2bCdE4gHiJkLmNoPqRsTuVw")]
    state: String,
    /// `code`, as it came.
    #[schema(example = "4/0AX4XfWh")]
    code: String,
    /// `iss`, if it came.
    #[serde(default)]
    #[schema(example = "https://accounts.google.com")]
    iss: Option<String>,
}

/// List the identity providers that people may sign in with.
#[utoipa::path(get, path = "/v1/auth/oidc", tag = "Sign-in", security(()), responses((status = 200, description = "The providers", body = ProviderListView)))]
pub(in super::super) async fn list_identity_providers(State(api): State<Arc<Api>>) -> Json<ProviderListView> {
    let view = |provider: &Arc<dyn wotp_core::ports::IdentityProvider>| ProviderView {
        name: provider.name().to_owned(),
        display_name: provider.display_name().to_owned(),
        redirect_uris: provider.redirect_uris().to_vec(),
    };
    Json(ProviderListView { data: api.app.identity_providers().iter().map(view).collect() })
}

/// Begin to sign in with an identity provider.
///
/// The browser keeps a cookie for ten minutes, and goes to `authorization_url`. It comes back to `redirect_uri`
/// with `code` and `state`, which that page posts to `/v1/auth/oidc/complete`.
#[utoipa::path(post, path = "/v1/auth/oidc/{name}/start", tag = "Sign-in", security(()), request_body = BeginBody,
    params(("name" = String, Path, description = "The provider's name", example = "google")),
    responses(
        (status = 200, description = "Begun", body = BegunView, headers(("Set-Cookie" = String, description = "What makes the answer this browser's own"))),
        openapi::BodyProblems, openapi::NotFoundProblem, openapi::ProviderAway, openapi::RateProblem,
    ))]
pub(in super::super) async fn begin_sign_in(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    InPath(name): InPath<String>,
    body: Body<BeginBody>,
) -> Result<(HeaderMap, Json<BegunView>), Problem> {
    let BeginBody { redirect_uri, token_transport } = body.value;
    let begin =
        BeginSignIn { provider: &name, redirect_uri: redirect_uri.as_deref(), transport: token_transport.transport() };
    let begun = api.app.begin_sign_in(begin, &from.0).await.map_err(|refusal| refused(&api, refusal))?;
    let mut headers = HeaderMap::new();
    let age = begun.expires_at.duration_since(api.app.ports().clock.now()).as_secs();
    cookies::give_sign_in(&api, &begun.browser_secret, age, &mut headers);
    Ok((headers, Json(BegunView { authorization_url: begun.authorization_url, expires_at: begun.expires_at })))
}

/// Finish to sign in with an identity provider.
///
/// Whoever the provider says it is: the person who signed in with it before, else the person whose account has
/// the email address that the provider has verified, else a new one. It works once, from the browser that
/// began. Who has a second factor is asked for it.
#[utoipa::path(post, path = "/v1/auth/oidc/complete", tag = "Sign-in", security(()), request_body = CompleteBody, responses(
    (status = 200, description = "Signed in, or the question for the second factor", body = SignInView, headers(("Set-Cookie" = String, description = "With `cookie`: the refresh token, the CSRF token and the device token"))),
    openapi::BodyProblems, openapi::ProviderProblems, openapi::ProviderAway, openapi::ConflictProblem,
))]
pub(in super::super) async fn complete_sign_in(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    headers: HeaderMap,
    body: Body<CompleteBody>,
) -> Result<(HeaderMap, Json<SignInView>), Problem> {
    let CompleteBody { state, code, iss } = body.value;
    let device = cookies::device(&api, &headers);
    let finish = FinishSignIn {
        state: &state,
        code: &code,
        issuer: iss.as_deref(),
        browser_secret: cookies::sign_in(&api, &headers),
        device: device.as_deref(),
    };
    let step = api.app.finish_sign_in(finish, &from.0).await.map_err(|refusal| refused(&api, refusal))?;
    let (mut headers, view) = stepped(&api, step);
    cookies::take_sign_in(&api, &mut headers);
    Ok((headers, view))
}
