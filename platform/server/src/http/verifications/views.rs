//! A verification as a reply shows it, and the names of what it says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::ApiCaller;
use wotp_core::domain::code::CodeKind;
use wotp_core::domain::dispatch::{Delivery, DeliveryFailure, DeliveryStatus};
use wotp_core::domain::magic_link::{LinkTerms, Method};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::permission::Permission;
use wotp_core::domain::verification::{BelowStandard, FailureReason, Status, StoredAddress, Verification};

use super::inbound::InboundView;
use super::refused;
use crate::http::guard::{NoteView, VerdictView};
use crate::http::{Api, Problem};

/// What a code is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CodeKind)]
pub(in crate::http) enum CodeKindName {
    /// Digits.
    Numeric,
    /// Capital letters and digits, without look-alikes.
    Alphanumeric,
    /// Capital letters, without look-alikes.
    Alpha,
}

impl From<CodeKindName> for CodeKind {
    fn from(name: CodeKindName) -> Self {
        match name {
            CodeKindName::Numeric => Self::Numeric,
            CodeKindName::Alphanumeric => Self::Alphanumeric,
            CodeKindName::Alpha => Self::Alpha,
        }
    }
}

impl From<CodeKind> for CodeKindName {
    fn from(kind: CodeKind) -> Self {
        match kind {
            CodeKind::Numeric => Self::Numeric,
            CodeKind::Alphanumeric => Self::Alphanumeric,
            CodeKind::Alpha => Self::Alpha,
        }
    }
}

/// How a verification is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Method)]
pub(in crate::http) enum MethodName {
    /// The code of the message is typed in and checked.
    #[default]
    Code,
    /// The link of the message is opened, and the button of its page pressed.
    Link,
    /// The person writes to your number.
    Inbound,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Code => Self::Code,
            MethodName::Link => Self::Link,
            MethodName::Inbound => Self::Inbound,
        }
    }
}

impl From<Method> for MethodName {
    fn from(method: Method) -> Self {
        match method {
            Method::Code => Self::Code,
            Method::Link => Self::Link,
            Method::Inbound => Self::Inbound,
        }
    }
}

/// What is agreed about a link.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Link)]
pub(in crate::http) struct LinkBody {
    /// Where the page leads once it has approved: https, to a host by its name.
    #[serde(default)]
    #[schema(example = "https://app.example.com/welcome", max_length = 2048)]
    redirect_url: Option<String>,
    /// Lets only the browser approve that was sent to `bind_url`; any may when it is left out.
    #[serde(default)]
    same_browser: Option<SameBrowser>,
}

/// The binding of a link to a browser.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SameBrowser {
    /// Where `bind_url` sends the browser on: a page of yours, https.
    #[schema(example = "https://app.example.com/look-at-your-phone", max_length = 2048)]
    return_url: String,
}

impl From<LinkBody> for LinkTerms {
    fn from(body: LinkBody) -> Self {
        Self { redirect_url: body.redirect_url, return_url: body.same_browser.map(|bound| bound.return_url) }
    }
}

impl From<LinkTerms> for LinkBody {
    fn from(terms: LinkTerms) -> Self {
        let same_browser = terms.return_url.map(|return_url| SameBrowser { return_url });
        Self { redirect_url: terms.redirect_url, same_browser }
    }
}

/// Where a verification stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerificationStatus)]
pub(in crate::http) enum StatusName {
    /// Waiting for the right code, for its link, or for the person to write.
    Pending,
    /// The right code was typed in time, or its link or the person's message approved it.
    Approved,
    /// Its time ran out.
    Expired,
    /// It was called off.
    Canceled,
    /// It cannot succeed any more; `reason` says why.
    Failed,
}

impl From<Status> for StatusName {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Approved => Self::Approved,
            Status::Expired => Self::Expired,
            Status::Canceled => Self::Canceled,
            Status::Failed => Self::Failed,
        }
    }
}

/// One attempt through one channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(in crate::http) struct DeliveryView {
    /// Its id.
    #[schema(example = "dlv_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The channel's name.
    #[schema(example = "console")]
    channel: String,
    /// `sent` means that the channel's server acknowledged it.
    #[schema(value_type = DeliveryStatusName)]
    status: DeliveryStatus,
    /// How often the channel was called.
    attempts: u8,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
    /// When the channel's server acknowledged it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    /// When it reached the device.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    /// When it was opened.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    /// When it failed.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    failed_at: Option<Timestamp>,
    /// Why it failed.
    #[schema(required, value_type = Option<DeliveryFailureName>)]
    reason: Option<DeliveryFailure>,
}

/// Where one delivery stands. `sent` means that the channel's server acknowledged it.
#[derive(ToSchema)]
#[schema(as = DeliveryStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum DeliveryStatusName {
    Queued,
    Sending,
    Sent,
    Delivered,
    Read,
    Failed,
}

/// Why a delivery failed.
#[derive(ToSchema)]
#[schema(as = DeliveryFailure, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum DeliveryFailureName {
    InvalidRecipient,
    Rejected,
    Misconfigured,
    NoAck,
    Unavailable,
    Expired,
    Canceled,
}

/// Why a verification failed.
#[derive(ToSchema)]
#[schema(as = FailureReason, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum FailureReasonName {
    MaxChecks,
    Undeliverable,
    Blocked,
}

/// A standard that a verification falls short of, by its tenant's choice.
#[derive(ToSchema)]
#[schema(as = BelowStandard, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum BelowStandardName {
    ShortCode,
    LongExpiry,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            channel: delivery.channel,
            status: delivery.status,
            attempts: delivery.tries,
            queued_at: delivery.queued_at,
            sent_at: delivery.sent_at,
            delivered_at: delivery.delivered_at,
            read_at: delivery.read_at,
            failed_at: delivery.failed_at,
            reason: delivery.reason,
        }
    }
}

/// How many checks were made.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(in crate::http) struct Checks {
    /// Made so far, kept across resends.
    used: u8,
    /// Allowed in all.
    #[schema(example = 5)]
    allowed: u8,
}

/// How often the code was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Sends {
    /// So far.
    #[schema(example = 1)]
    used: usize,
    /// Allowed in all.
    #[schema(example = 5)]
    allowed: u32,
    /// From when on a resend is allowed; null when there is none.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:30Z")]
    next_at: Option<Timestamp>,
}

/// One attempt to verify one address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verification)]
pub(in crate::http) struct VerificationView {
    /// Its id.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M", pattern = "^ver_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    id: String,
    /// How it is approved.
    method: MethodName,
    /// Where it stands.
    pub(super) status: StatusName,
    /// Why it failed.
    #[schema(required, value_type = Option<FailureReasonName>)]
    reason: Option<FailureReason>,
    /// The address: masked, unless the key has `addresses:read`; null once retention has ended, and until somebody writes
    /// where it was left out.
    #[schema(required, example = "+1********23")]
    to: Option<String>,
    /// For which service.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: String,
    /// The channel at hand.
    #[schema(required, example = "console")]
    channel: Option<String>,
    /// Every attempt, oldest first.
    deliveries: Vec<DeliveryView>,
    /// Guesses.
    pub(super) checks: Checks,
    /// Sends.
    sends: Sends,
    /// Language of the message.
    #[schema(example = "en")]
    locale: String,
    /// When the code or the link stops working.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:05:00Z")]
    expires_at: Timestamp,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ended.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Whether it was started with a test key: nothing reaches a person.
    #[schema(example = true)]
    test_mode: bool,
    /// Your own notes.
    #[schema(example = json!({"order": "7"}))]
    metadata: BTreeMap<String, String>,
    /// Standards (NIST SP 800-63B-4, OWASP ASVS) that it falls short of, by your settings.
    #[schema(value_type = Vec<BelowStandardName>)]
    below_standard: Vec<BelowStandard>,
    /// What the guard decided; left out where no rule was against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictView>,
    /// What the guard's rules did, oldest first; left out where none had anything to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<NoteView>,
    /// What was agreed about the link; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkBody>,
    /// How the person confirms themselves by a message; left out where they are sent something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inbound: Option<InboundView>,
    /// Where to send the browser that the link is bound to, in the reply to the start only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://wotp.example.com/l/browser/…")]
    pub(super) bind_url: Option<String>,
    /// The code, with a test key and while it is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "123456")]
    test_code: Option<String>,
    /// The link, with a test key and while it is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://wotp.example.com/l/…")]
    test_link: Option<String>,
    /// The token that the person is to write, with a test key and while it is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "WOTP…")]
    test_token: Option<String>,
}

/// What a reply shows of an address.
pub(in crate::http) fn shown_address(
    api: &Api,
    caller: &ApiCaller,
    owner: &[u8; 16],
    stored: Option<&StoredAddress>,
) -> Result<Option<String>, Problem> {
    if !caller.may(Permission::AddressesRead) {
        return Ok(stored.map(|address| address.masked.clone()));
    }
    let whole = api.app.open_address(owner, stored).map_err(|refusal| refused(api, refusal))?;
    Ok(whole.map(|address| address.as_str().to_owned()))
}

pub(in crate::http) fn view(
    api: &Api,
    caller: &ApiCaller,
    verification: Verification,
) -> Result<VerificationView, Problem> {
    let to = shown_address(api, caller, &verification.id.to_bytes(), verification.address.as_ref())?;
    let test_code = api.app.test_code(&verification).map_err(|refusal| refused(api, refusal))?;
    let test_link = api.app.test_link(&verification).map_err(|refusal| refused(api, refusal))?;
    let test_token = api.app.test_token(&verification).map_err(|refusal| refused(api, refusal))?;
    let inbound = InboundView::of(api, &verification)?;
    Ok(VerificationView {
        id: verification.id.to_string(),
        method: verification.method().into(),
        status: verification.status.into(),
        reason: verification.reason,
        to,
        service: verification.service.to_string(),
        channel: verification.dispatch.current().map(|delivery| delivery.channel.clone()),
        checks: Checks { used: verification.checks_used, allowed: verification.policy.checks_allowed },
        sends: Sends {
            used: verification.sends.len(),
            allowed: verification.sends_allowed(),
            next_at: verification.next_send_at(),
        },
        locale: verification.policy.locale.to_string(),
        expires_at: verification.expires_at,
        created_at: verification.created_at,
        ended_at: verification.ended_at,
        test_mode: verification.mode == Mode::Test,
        below_standard: verification.policy.below_standard(),
        inbound,
        bind_url: None,
        test_code: test_code.map(|code| code.as_str().to_owned()),
        test_link: test_link.map(|link| link.to_string()),
        test_token: test_token.map(|token| token.to_string()),
        link: verification.link.map(LinkBody::from),
        verdict: VerdictView::of(&verification.guard),
        timeline: verification.guard.into_iter().map(NoteView::from).collect(),
        deliveries: verification.dispatch.deliveries.into_iter().map(DeliveryView::from).collect(),
        metadata: verification.metadata,
    })
}
