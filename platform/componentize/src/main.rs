//! Makes a component of what a compiler made for wasm32-unknown-unknown: `wotp-componentize MODULE COMPONENT`.
//!
//! The module says itself what the component is to be, in a section that `wit-bindgen` puts there.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wit_component::ComponentEncoder;

fn componentize(module: &Path, component: &Path) -> Result<(), String> {
    let words = |what: &str, error: &dyn Error| format!("{what}: {error}");
    let bytes =
        std::fs::read(module).map_err(|error| words(&format!("{} cannot be read", module.display()), &error))?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{} cannot be made a component: {error:#}", module.display()))?;
    std::fs::write(component, encoded)
        .map_err(|error| words(&format!("{} cannot be written", component.display()), &error))
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
