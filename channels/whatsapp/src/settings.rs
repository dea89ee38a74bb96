//! What sessions are set up with.

use std::time::Duration;

use crate::health::Allowance;
use crate::version::WebVersion;

/// Set up once, for all sessions of a process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where WhatsApp is: [`WHATSAPP`] but in tests.
    pub url: String,
    /// The version of WhatsApp Web that sessions say they are at first ([`Version`](crate::Version)). Without one given,
    /// each of them would ask for it on its own, and WhatsApp refuses those that have become too old
    /// ([`Away::Outdated`](crate::Away::Outdated)).
    pub version: WebVersion,
    /// What the tenant's phone calls a session, under its linked devices.
    pub shown_as: String,
    /// How long anything is waited for.
    pub patience: Patience,
    /// How much may be sent.
    pub allowance: Allowance,
    /// How sessions come in when many want to at once.
    pub entrance: Entrance,
}

/// WhatsApp Web's own address.
pub const WHATSAPP: &str = wacore::net::WHATSAPP_WEB_WS_URL;

/// How long anything is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Whether somebody has WhatsApp.
    pub look_up: Duration,
    /// That a message is handed over, keys of the recipient included.
    pub hand_over: Duration,
    /// A send in all, until the server's acknowledgement, a connection that breaks and comes back included. Whoever asks for
    /// the send may give up before; what is acknowledged then is told as a receipt.
    pub send: Duration,
    /// How long a tenant is shown QRs and codes, one after the other, before somebody has to ask again.
    pub pairing: Duration,
    /// After so long without a connection a session is begun anew: the client waits longer from try to try, up to 15
    /// minutes.
    pub lost: Duration,
    /// After so long a login is begun anew that does not come to an end. The first one after a phone was linked may take
    /// the client three minutes.
    pub login: Duration,
    /// After so long a session that was refused for a reason that may pass is begun anew.
    pub refused: Duration,
    /// After so long a session is begun anew whose store did not answer.
    pub not_kept: Duration,
    /// After so long WhatsApp is asked, by another login, to say again what somebody wrote and nobody took; longer from time to
    /// time.
    pub ask_again: Duration,
    /// A session that is to be taken off its phone: to connect, before others have their turn and it is tried again.
    pub leave: Duration,
    /// A session that ends: what it still has to write and to say.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            look_up: Duration::from_secs(4),
            hand_over: Duration::from_secs(6),
            send: Duration::from_secs(30),
            pairing: Duration::from_secs(600),
            lost: Duration::from_secs(90),
            login: Duration::from_secs(240),
            refused: Duration::from_secs(300),
            not_kept: Duration::from_secs(5),
            ask_again: Duration::from_secs(10),
            leave: Duration::from_secs(10),
            stop: Duration::from_secs(12),
        }
    }
}

/// How sessions come in when many want to at once, as after a start, or when WhatsApp was away.
#[derive(Debug, Clone, Copy)]
pub struct Entrance {
    /// Most that log in at the same time.
    pub at_once: usize,
    /// Least time between two that begin to.
    pub apart: Duration,
}

impl Default for Entrance {
    /// 1,000 sessions are in after 20 seconds at the earliest.
    fn default() -> Self {
        Self { at_once: 16, apart: Duration::from_millis(20) }
    }
}

impl Settings {
    /// The real WhatsApp.
    pub fn new(version: WebVersion, shown_as: impl Into<String>) -> Self {
        Self {
            url: WHATSAPP.to_owned(),
            version,
            shown_as: shown_as.into(),
            patience: Patience::default(),
            allowance: Allowance::default(),
            entrance: Entrance::default(),
        }
    }
}
