//! How the account at the provider stands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wotp_core::domain::account::{AccountFinding, AccountStanding};
use wotp_core::domain::template::is_control;
use wotp_core::ports::{CheckAccount, Unchecked};

use crate::plugin::Plugin;
use crate::report::{self, Function};
use crate::sandbox::{self, Call, Errand};
use crate::since_v0_1_4::exports::wotp::channel::account;
use crate::since_v0_1_4::wotp::channel::notices;

/// Longest that looking may take, with the wait for a place.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long it waits for a place: there are as many as for questions about messages.
const PLACE_WAIT: Duration = Duration::from_secs(2);
/// Findings of one look.
const FINDINGS_MAX: usize = 128;
/// Longest name, in characters.
const NAME_MAX: usize = 128;
/// Longest word for how something stands, in characters.
const STATE_MAX: usize = 32;
/// Longest text for the tenant, in characters.
const ABOUT_MAX: usize = 400;

impl notices::Host for Call {
    async fn account_changed(&mut self) {
        if matches!(self.errand, Errand::Hear) {
            self.account_changed.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl CheckAccount for Plugin {
    /// Also where its provider does not answer lately: whoever looks wants to know why.
    async fn check(&self) -> Result<AccountStanding, Unchecked> {
        let nobody = || Unchecked::Unanswered("this release of the plugin looks at no account".to_owned());
        let pre = self.component.checking.as_ref().ok_or_else(nobody)?;
        let begun = Instant::now();
        let _place = self.room.question_within(&self.share, PLACE_WAIT).await.ok_or(Unchecked::Busy)?;
        let call = Call::new(&self.grant, Errand::Check, TIME_MAX.saturating_sub(begun.elapsed()));
        let effort = Arc::clone(&call.effort);
        let said = sandbox::check(pre, call, &self.config);
        let said = report::counted(&self.name, Function::Check, effort, said).await;
        let words = |text: &str| shortened(&self.grant.without_secrets_in(text), ABOUT_MAX);
        match said {
            Ok(Ok(report)) => Ok(self.standing(report)),
            Ok(Err(account::Trouble::Misconfigured(why))) => {
                let about = words(&why);
                let finding = AccountFinding {
                    name: "account".to_owned(),
                    state: "MISCONFIGURED".to_owned(),
                    good: false,
                    about,
                };
                Ok(AccountStanding { usable: false, findings: vec![finding] })
            }
            Ok(Err(account::Trouble::Temporary(why))) => Err(Unchecked::Unanswered(words(&why))),
            Err(stopped) => {
                let why = words(&stopped.to_string());
                tracing::warn!(channel = self.name, why, "a plugin was to look at an account, and broke down");
                Err(Unchecked::BrokeDown(why))
            }
        }
    }
}

impl Plugin {
    fn standing(&self, report: account::Report) -> AccountStanding {
        let words = |text: &str, max| shortened(&self.grant.without_secrets_in(text), max);
        let finding = |said: account::Finding| AccountFinding {
            name: words(&said.name, NAME_MAX),
            state: words(&said.state, STATE_MAX),
            good: said.good,
            about: words(&said.about, ABOUT_MAX),
        };
        let findings = report.findings.into_iter().take(FINDINGS_MAX).map(finding).collect();
        AccountStanding { usable: report.usable, findings }
    }
}

/// On one line, and no longer than that.
fn shortened(text: &str, max: usize) -> String {
    text.chars().map(|c| if is_control(c) { ' ' } else { c }).take(max).collect()
}
