//! A WhatsApp of its own for tests: a server that speaks WhatsApp Web's protocol, and all the phones behind it.
//!
//! A client links itself by QR or by code, logs in, looks people up, sends, gets receipts, and receives. The double
//! plays everybody else: it decrypts what the people were sent ([`Double::inbox`]), writes to the client as any person
//! ([`Double::say`]), and lets go wrong what goes wrong with the real one ([`Fault`], [`Strike`]).
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use wotp_whatsapp_double::{Double, Fault, Rule};
//!
//! let double = Double::start().await.unwrap();
//! assert!(double.url().starts_with("ws://127.0.0.1:"));
//! double.arm(Rule::once(Fault::AckError { code: 463 }, "+1 555 0100")).await;
//! assert_eq!(double.armed().await[0].number.as_deref(), Some("15550100"));
//! # });
//! ```

pub mod admin;

mod adv;
mod clock;
mod connection;
mod double;
mod error;
mod faults;
mod inbox;
mod keys;
mod node;
mod noise;
mod pairing;
mod people;
mod session;
mod signal;
mod wire;

pub use double::{DeviceStatus, Double, Receipt};
pub use error::{Error, Result};
pub use faults::{Fault, Rule, Strike};
pub use inbox::{Inbox, Received};
pub use people::Receipts;
pub use session::NewChatCap;
