//! The binary `wotp` as it is never shipped: its WhatsApp client takes the double for WhatsApp.

use std::process::ExitCode;

fn main() -> ExitCode {
    wotp_server::cli::main()
}
