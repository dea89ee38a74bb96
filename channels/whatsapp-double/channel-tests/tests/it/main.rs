//! WhatsApp sessions against the double: the real client over the real protocol.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod channel;
mod home;
mod joined;
mod logins;
mod logs;
mod owners;
mod pairing;
mod sending;
mod several;
mod tenant;
mod wishes;
