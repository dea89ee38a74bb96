//! Keeps the WhatsApp sessions of tenants, and sends through them.
//!
//! A tenant links their own phone, as with WhatsApp Web, by a QR or a code ([`Session::start`], [`Session::show_code`]).
//! From then on the session is a device of that phone: it sends as that number ([`Session::send`]), hears what became of
//! what it sent, and what people write to it ([`Listen`]). Where it stands can be watched ([`Session::watch`]).
//!
//! # What `sent` means
//!
//! That WhatsApp's server acknowledged the message, or its recipient did. The client's own call returns before, also when
//! the server then refuses; so who sends waits for the acknowledgement, and what comes after they gave up is reported.
//!
//! # One owner
//!
//! Who logs in with the keys of a session ends the one that was there. So a session runs while its process has the right
//! to ([`Right`]), by a lease of the store, and not a byte of it goes out after; what it would write then, the store
//! refuses, and that ends it as well. [`Sessions`] keeps many.
//!
//! # Restraint
//!
//! Numbers that write to many strangers are locked out or banned. [`Health`] counts, and refuses what is too much, before
//! WhatsApp does.
//!
//! # Logs
//!
//! This crate writes no number, text, code or key into a log. The client that it is built on does, through the crate
//! `log`, which nothing of ours forwards: `make lint` fails when something could.

mod channel;
mod client;
mod directory;
mod entrance;
mod health;
mod keys;
mod leases;
mod line;
mod listen;
mod pace;
mod right;
mod sent;
mod session;
mod sessions;
mod settings;
mod share;
mod state;
mod status;
mod version;
mod wishes;

pub use channel::WhatsApp;
pub use health::{Allowance, Grade, Health, Held, Reason, Recipient, Report, Step, Told, WAIT_MAX};
pub use keys::Keys;
pub use leases::{Leases, Tenure};
pub use listen::{Incoming, Listen, NotTaken, Reported, SessionId};
pub use right::Right;
pub use session::{Letter, PairError, Parts, Session, StartError};
pub use sessions::{KeepError, Sessions};
pub use settings::{Entrance, Patience, Settings, WHATSAPP};
pub use status::{Away, Ban, OwnNumber, Shown, ShownCode, Status, Unpaired};
pub use version::{VERSION_KNOWN, VERSION_URL, Version, WebVersion, version_in};
pub use wishes::Wishes;
