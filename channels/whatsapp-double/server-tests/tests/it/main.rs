//! The server as a process, with WhatsApp sessions that are linked to phones of the double.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod failover;
mod linked;
mod nodes;
mod process;
