//! Builds a plugin's folder: whatever its language makes becomes `plugin.wasm`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use wotp_componentize::{NoComponent, component_of};

use crate::language::{Recipe, TEMPLATES};

/// What plugins in Rust are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";
/// What a component is called, in the folder of its plugin.
pub const COMPONENT: &str = "plugin.wasm";
/// With this argument, cargo builds the standard library itself, and needs none that is installed.
const BUILDS_STD: &str = "-Zbuild-std";

/// Why nothing was built, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotBuilt {
    /// The folder is none of a plugin.
    #[error("{} holds no plugin: there is no {known} in it; name the folder of one, or begin one with `wotp plugin new`", folder.display())]
    NoPlugin {
        /// Which.
        folder: PathBuf,
        /// What would be there.
        known: String,
    },
    /// Rust is not installed.
    #[error("there is no `{}` here, which builds plugins in Rust; install Rust as https://rustup.rs says", .0.display())]
    NoCargo(OsString),
    /// Rust is installed for this machine only.
    #[error("the Rust here cannot build plugins, which run on {TARGET}; `rustup target add {TARGET}` lets it")]
    NoTarget,
    /// It said so itself.
    #[error("the build failed; what `{0}` says is above")]
    Failed(&'static str),
    /// There is no library of the right kind.
    #[error("cargo built no module; a plugin's Cargo.toml says `crate-type = [\"cdylib\"]` below `[lib]`")]
    NoModule,
    /// The module is none of a plugin.
    #[error(
        "what cargo built cannot be made a component; is `wotp_plugin_kit::plugin!` called, and the kit the one that \
         `wotp plugin new` writes?"
    )]
    NoComponent(#[source] NoComponent),
    /// The system does not let us.
    #[error("{file} cannot be {1}", file = .0.display())]
    File(PathBuf, &'static str, #[source] io::Error),
}

/// Builds what is in a folder, with further arguments for its language's tool, and says where the component is.
///
/// What the tool says goes to standard error.
///
/// # Errors
/// [`NotBuilt`].
pub fn build(folder: &Path, arguments: &[OsString]) -> Result<PathBuf, NotBuilt> {
    let template = TEMPLATES.iter().find(|template| folder.join(template.known_by).is_file());
    let template = template.ok_or_else(|| NotBuilt::NoPlugin {
        folder: folder.to_owned(),
        known: TEMPLATES.iter().map(|template| template.known_by).collect::<Vec<_>>().join(" and no "),
    })?;
    let component = folder.join(COMPONENT);
    match template.recipe {
        Recipe::Cargo => {
            let module = cargo(folder, arguments)?;
            let bytes = fs::read(&module).map_err(|error| NotBuilt::File(module, "read", error))?;
            let encoded = component_of(&bytes).map_err(NotBuilt::NoComponent)?;
            fs::write(&component, encoded).map_err(|error| NotBuilt::File(component.clone(), "written", error))?;
        }
    }
    Ok(component)
}

/// One of the messages of `cargo build --message-format json`, as far as it is read.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The module that cargo makes of a folder.
fn cargo(folder: &Path, arguments: &[OsString]) -> Result<PathBuf, NotBuilt> {
    let tool = |variable, usual: &str| std::env::var_os(variable).unwrap_or_else(|| usual.into());
    let (cargo, rustc) = (tool("CARGO", "cargo"), tool("RUSTC", "rustc"));
    let builds_std = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(BUILDS_STD));
    if !builds_std && has_target(folder, &rustc) == Some(false) {
        return Err(NotBuilt::NoTarget);
    }
    let mut command = Command::new(&cargo);
    command.current_dir(folder).args(["build", "--release", "--target", TARGET]);
    command.args(["--message-format", "json-render-diagnostics"]).args(arguments).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotBuilt::NoCargo(cargo.clone()),
        _ => NotBuilt::File(PathBuf::from(&cargo), "run", error),
    })?;
    if !output.status.success() {
        return Err(NotBuilt::Failed("cargo build"));
    }
    let ours = fs::canonicalize(folder.join("Cargo.toml")).ok();
    let said = String::from_utf8_lossy(&output.stdout);
    let artifacts = said.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let of_the_folder = |artifact: &Artifact| {
        artifact.reason == "compiler-artifact" && fs::canonicalize(&artifact.manifest_path).ok() == ours
    };
    let mut files = artifacts.filter(of_the_folder).flat_map(|artifact| artifact.filenames);
    files.find(|file| file.extension().is_some_and(|extension| extension == "wasm")).ok_or(NotBuilt::NoModule)
}

/// Whether the compiler has the standard library for plugins; none where it does not say.
fn has_target(folder: &Path, rustc: &OsString) -> Option<bool> {
    let mut command = Command::new(rustc);
    // In the folder, which may ask for a compiler of its own.
    command.current_dir(folder).args(["--print", "target-libdir", "--target", TARGET]);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_no_plugin_is_not_built() {
        let place = tempfile::tempdir().unwrap();
        let said = build(place.path(), &[]).unwrap_err().to_string();
        assert!(said.contains("there is no Cargo.toml") && said.contains("wotp plugin new"), "{said}");
    }

    #[test]
    fn what_is_no_module_is_no_component() {
        assert!(component_of(b"plugin").is_err());
    }
}
