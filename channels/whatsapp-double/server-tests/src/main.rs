//! The binary `wotp` as it is never shipped: its WhatsApp client takes the double for WhatsApp.

use std::process::ExitCode;

/// As in what is shipped: `make bench` measures sessions with this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wotp_server::cli::main()
}
