//! The binary `wotp`. See [`wotp_server::cli`].

use std::process::ExitCode;

/// A request makes some hundred small allocations on one thread and frees them on another, which
/// the system's allocator is slow at: it was a sixth of all processor time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wotp_server::cli::main()
}
