//! WhatsApp, through numbers that tenants link.

use serde::{Deserialize, Serialize};

/// Longest that a message may be made to wait, in milliseconds: codes are waited for.
const WAIT_MAX_MS: u32 = 2_000;

/// The channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhatsApp {
    /// Whether it is there.
    pub enabled: bool,
    /// What a tenant's phone calls the connection, under its linked devices.
    pub shown_as: String,
    /// The version of WhatsApp Web that connections say they are, as in `2.3000.1026131876`; empty to ask WhatsApp.
    pub version: String,
    /// Where WhatsApp is; empty for WhatsApp itself.
    pub url: String,
    /// Longest that one of many messages waits by chance, in milliseconds.
    pub wait_max_ms: u32,
    /// Most strangers among what a number sends in 24 hours, in percent.
    pub strangers_percent_max: u8,
    /// Most numbers in a minute of which a connection asks whether they have WhatsApp.
    pub look_ups_per_minute: u32,
    /// How much numbers may send, by age, the youngest first; empty for what is usual.
    pub allowance: Vec<AllowanceStep>,
}

/// How much numbers may send from some age on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceStep {
    /// Days since the number was linked.
    pub from_days: u32,
    /// Most messages in an hour.
    pub per_hour: u32,
    /// Most messages in 24 hours.
    pub per_day: u32,
    /// Most of those to people whom it has never written with.
    pub strangers_per_day: u32,
}

impl Default for WhatsApp {
    fn default() -> Self {
        Self {
            enabled: true,
            shown_as: "WOTP".to_owned(),
            version: String::new(),
            url: String::new(),
            wait_max_ms: WAIT_MAX_MS,
            strangers_percent_max: 100,
            look_ups_per_minute: 60,
            allowance: Vec::new(),
        }
    }
}

impl WhatsApp {
    /// The version, where one is given.
    ///
    /// # Errors
    /// Where it is none.
    pub fn version(&self) -> Result<Option<(u32, u32, u32)>, String> {
        if self.version.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<Option<u32>> = self.version.split('.').map(|number| number.parse().ok()).collect();
        match numbers[..] {
            [Some(first), Some(second), Some(third)] => Ok(Some((first, second, third))),
            _ => Err(format!("`{}` is no version", self.version)),
        }
    }

    /// What does not hold: the key, the problem, and what would be right.
    pub(super) fn complaints(&self) -> Vec<(&'static str, String, &'static str)> {
        let mut all = Vec::new();
        if let Err(problem) = self.version() {
            let right = "write three numbers, as in \"2.3000.1026131876\", or nothing to have WhatsApp asked";
            all.push(("channels.whatsapp.version", problem, right));
        }
        if self.shown_as.trim().is_empty() {
            let problem = "nothing would stand under the linked devices of a phone".to_owned();
            all.push(("channels.whatsapp.shown_as", problem, "write a name that tenants know"));
        }
        if self.wait_max_ms > WAIT_MAX_MS {
            let problem = format!("a code would come {} ms late", self.wait_max_ms);
            all.push(("channels.whatsapp.wait_max_ms", problem, "write 0 to 2000"));
        }
        if !(1..=100).contains(&self.strangers_percent_max) {
            let problem = format!("{} is no part of what is sent", self.strangers_percent_max);
            all.push(("channels.whatsapp.strangers_percent_max", problem, "write 1 to 100"));
        }
        if self.look_ups_per_minute == 0 {
            let problem = "no code could go to a number that is new".to_owned();
            all.push(("channels.whatsapp.look_ups_per_minute", problem, "write at least 1"));
        }
        let begins = self.allowance.first().is_none_or(|first| first.from_days == 0);
        if !begins || !self.allowance.windows(2).all(|two| two[0].from_days < two[1].from_days) {
            let problem = "the steps leave out numbers that are new, or are not in the order of their ages".to_owned();
            let right = "begin with from_days = 0, and go up from step to step";
            all.push(("channels.whatsapp.allowance", problem, right));
        }
        all
    }
}
