//! The binary `wotp`. See [`wotp_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wotp_server::cli::main()
}
