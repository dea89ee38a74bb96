//! The double against a real client: `whatsapp-rust`, with its certificate check off.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod admin;
mod baileys;
mod client;
mod faults;
mod pairing;
mod receiving;
mod restarts;
mod sending;
