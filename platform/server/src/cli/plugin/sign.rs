use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wotp_workbench::signing;

use super::examined;
use crate::cli::Global;
use crate::cli::failure::Failure;
use crate::system::OsEntropy;

/// Sign a plugin: write `plugin.toml` beside it, by which others see who built it
///
/// Keep the private key where nobody else reads it, and make the public one known: operators hold it against what they
/// install, and see that an upgrade comes from whom they know.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, a file as in `plugin.wasm`
    file: PathBuf,
    /// The file that holds the private key
    #[arg(long, value_name = "FILE", required_unless_present = "new_key", conflicts_with = "new_key")]
    key: Option<PathBuf>,
    /// Draw a key, and keep it in this new file, for yourself alone
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, key, new_key } = arguments;
    // Before a key is drawn: what is no plugin leaves nothing behind.
    let (component, bytes) = examined(file).await?;
    let unsigned = |error| Failure::caused(format!("{} was not signed", file.display()), error);
    let signing_key = match (key, new_key) {
        (Some(key), _) => signing::read_key(key),
        (None, Some(new)) => signing::new_key(new, &OsEntropy),
        (None, None) => return Err(Failure::new("a key is needed: `--key FILE`, or `--new-key FILE` for a new one")),
    };
    let signed = signing_key.and_then(|key| signing::sign(file, &bytes, &component, &key));
    let (manifest, publisher) = signed.map_err(unsigned)?;
    let machines =
        json!({ "manifest": manifest, "publisher": publisher.to_string(), "key": key.as_ref().or(new_key.as_ref()) });
    global.output().print(&machines, || {
        let drawn = match new_key {
            Some(new) => format!("\n{} is your private key: keep it, and show it to nobody", new.display()),
            None => String::new(),
        };
        format!("{} says that {publisher} published it{drawn}", manifest.display())
    })?;
    Ok(ExitCode::SUCCESS)
}
