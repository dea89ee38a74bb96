use jiff::SignedDuration;

use super::App;
use crate::domain::Timestamp;
use crate::domain::code::Code;
use crate::domain::template::{self, Inputs, Rendered};
use crate::domain::verification::Verification;

/// The code that previews show.
pub const PREVIEW_CODE: &str = "123456";

impl App {
    /// What a verification's message says over one channel.
    pub(super) fn render(&self, verification: &Verification, channel: &str, code: &Code, now: Timestamp) -> Rendered {
        let policy = &verification.policy;
        let templates = &policy.templates;
        let own = templates.iter().find(|template| template.channel.as_deref() == Some(channel));
        let own = own.or_else(|| templates.iter().find(|template| template.channel.is_none()));
        let inputs = Inputs {
            brand: &policy.brand,
            code: code.as_str(),
            expires_in: verification.expires_at.duration_since(now).max(SignedDuration::ZERO),
            web_origin: policy.web_origin.as_deref(),
            sms_retriever_hash: policy.sms_retriever_hash.as_deref(),
        };
        template::render(&policy.locale, own, &inputs)
    }
}
