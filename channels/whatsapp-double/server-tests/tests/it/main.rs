//! The server as a process, with WhatsApp sessions that are linked to phones of the double.

mod linked;
mod process;
