//! Verifications that a message of the person's approves: what replies show of them, and what pretends that somebody wrote.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::domain::verification::Verification;

use super::{VerificationView, path_id, refused, view};
use crate::http::auth::{Caller, VerificationsWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::qr::Qr;
use crate::http::{Api, Problem, openapi};

/// How the person confirms themselves by a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Inbound)]
pub(in crate::http) struct InboundView {
    /// Your number that they are to write to. With a test key one that nobody has.
    #[schema(example = "+12025550100")]
    number: String,
    /// How many messages with the right token came from other numbers than `to`, up to `checks.allowed`.
    #[schema(example = 0)]
    other_numbers: u8,
    /// What they are to write, in the reply to the start only: whoever writes it from `to` approves.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageView>,
}

/// What a person is to write. As secret as a code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InboundMessage)]
pub(in crate::http) struct MessageView {
    /// What approves, wherever it stands in what they write.
    #[schema(example = "WOTP…")]
    token: String,
    /// The whole text, in the language of the verification.
    #[schema(example = "Acme: I confirm that it is me.\nWOTP…")]
    text: String,
    /// Opens the chat, with the text ready to be sent: for a phone.
    #[schema(example = "https://wa.me/12025550100?text=…")]
    link: String,
    /// The QR of the link, to be scanned from another screen: an SVG.
    #[schema(example = "<svg …")]
    qr_svg: String,
    /// The same as a picture, for the `src` of an image: a PNG in a `data:` URL.
    #[schema(example = "data:image/png;base64,…")]
    qr_png: String,
}

impl InboundView {
    /// That of a verification, without what the person is to write; none where they are sent something.
    pub(super) fn of(api: &Api, verification: &Verification) -> Result<Option<Self>, Problem> {
        let number = api.app.number_to_write_to(verification).map_err(|refusal| refused(api, refusal))?;
        let other_numbers = verification.other_numbers;
        Ok(number.map(|number| Self { number, other_numbers, message: None }))
    }

    /// With what the person is to write, as long as that is of use.
    pub(super) fn with_message(self, api: &Api, verification: &Verification) -> Result<Self, Problem> {
        let asked = api.app.message_to_write(verification).map_err(|refusal| refused(api, refusal))?;
        let message = asked.map(|asked| {
            let qr = Qr::of(&asked.link).expect("a brand and a sentence are short enough for a QR, as a test proves");
            MessageView {
                token: asked.token.to_string(),
                text: asked.text.to_string(),
                link: asked.link.to_string(),
                qr_svg: qr.svg(),
                qr_png: qr.png_url(),
            }
        });
        Ok(Self { message, ..self })
    }
}

/// A message that nobody wrote.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SimulatedMessage)]
pub(in crate::http) struct SimulateBody {
    /// From whom: a phone number in E.164.
    #[schema(example = "+12025550123", min_length = 3, max_length = 40)]
    from: String,
    /// What they write; what they were asked to when it is left out.
    #[schema(example = "Hi! WOTP…", max_length = 4096)]
    text: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimulatedOutcome)]
pub(in crate::http) struct SimulatedView {
    /// Whether it approved the verification.
    #[schema(example = true)]
    approved: bool,
    /// What the person would be answered; null where it is nothing.
    #[schema(required, example = "Acme: Thank you, confirmed. You can go back to where you started.")]
    reply: Option<String>,
    /// The verification.
    verification: VerificationView,
}

/// Pretend that somebody wrote to your number, with a test key.
///
/// For verifications with `method: "inbound"` that were started with a test key: no message of a real phone approves them.
/// All else is as if the message had come.
#[utoipa::path(post, path = "/v1/verifications/{id}/simulate-message", tag = "Verifications", security(("api_key" = ["verifications:write"])), params(("id" = String, Path, description = "`ver_…`", example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = SimulateBody,
    responses((status = 200, description = "Taken in", body = SimulatedView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn simulate_message(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    InPath(id): InPath<String>,
    body: Body<SimulateBody>,
) -> Result<Json<SimulatedView>, Problem> {
    let SimulateBody { from, text } = body.value;
    let simulated = api.app.simulate_message(&caller, path_id(&id)?, &from, text.as_deref()).await;
    let simulated = simulated.map_err(|refusal| refused(&api, refusal))?;
    let verification = view(&api, &caller, simulated.verification)?;
    Ok(Json(SimulatedView { approved: simulated.approved, reply: simulated.reply, verification }))
}
