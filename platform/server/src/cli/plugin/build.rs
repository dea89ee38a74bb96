use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use wotp_workbench::building;

use super::{check, examined};
use crate::cli::Global;
use crate::cli::failure::Failure;

/// Build a plugin's folder into `plugin.wasm`, and check it
///
/// In Rust: `cargo build` for wasm32-unknown-unknown, which `rustup target add wasm32-unknown-unknown` makes possible, and
/// what that makes becomes a component. CARGO and RUSTC of the environment are used where they are set. In JavaScript:
/// `npm run build`, and `npm ci` before the first; in Python: `python3 build.py`.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Further arguments for the tool that builds, as in `-- --offline`
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let what = format!("{} was not built", arguments.folder.display());
    let built = building::build(&arguments.folder, &arguments.arguments);
    let file = built.map_err(|error| Failure::caused(what, error))?;
    let (component, _) = examined(&file).await?;
    check::print(global, &file, &component, None)?;
    Ok(ExitCode::SUCCESS)
}
