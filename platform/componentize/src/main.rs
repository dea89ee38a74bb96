//! `wotp-componentize MODULE COMPONENT`: for `.ci/guests`, which has no `wotp` yet. Authors use `wotp plugin build`.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn componentize(module: &Path, component: &Path) -> Result<(), String> {
    let words = |file: &Path, what: &str, error: &dyn Error| format!("{} {what}: {error}", file.display());
    let bytes = std::fs::read(module).map_err(|error| words(module, "cannot be read", &error))?;
    let encoded = wotp_componentize::component_of(&bytes);
    let encoded = encoded.map_err(|error| words(module, "cannot be made a component", &error))?;
    std::fs::write(component, encoded).map_err(|error| words(component, "cannot be written", &error))
}

fn main() -> ExitCode {
    let said = match std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>().as_slice() {
        [module, component] => componentize(module, component),
        _ => Err("usage: wotp-componentize MODULE COMPONENT".to_owned()),
    };
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // Nobody is left to be told that standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {problem}");
            ExitCode::FAILURE
        }
    }
}
