//! Builds a plugin's folder: whatever its language makes becomes `plugin.wasm`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use wotp_componentize::{NoComponent, component_of};

/// What plugins in Rust are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";
/// What a component is called, in the folder of its plugin.
pub const COMPONENT: &str = "plugin.wasm";
/// With this argument, cargo builds the standard library itself, and needs none that is installed.
const BUILDS_STD: &str = "-Zbuild-std";

/// How a folder becomes a component.
pub(crate) struct Recipe {
    /// The file by which such a folder is known.
    pub known_by: &'static str,
    steps: Steps,
}

enum Steps {
    /// By cargo, and what that makes is not a component yet.
    Cargo,
    /// By these, one after the other; the last leaves the component where it belongs, and gets what further arguments
    /// there are.
    Tools(&'static [Tool]),
}

/// A tool that is run in the folder.
struct Tool {
    program: &'static str,
    arguments: &'static [&'static str],
    /// What is there when this was done before.
    unless: Option<&'static str>,
    /// Where the tool comes from.
    from: &'static str,
}

/// All there are. The first that fits is taken.
pub(crate) const RECIPES: &[Recipe] = &[
    Recipe { known_by: "Cargo.toml", steps: Steps::Cargo },
    Recipe {
        known_by: "package.json",
        steps: Steps::Tools(&[
            Tool {
                program: "npm",
                arguments: &["ci", "--no-audit", "--no-fund"],
                unless: Some("node_modules"),
                from: NODE,
            },
            Tool { program: "npm", arguments: &["run", "build", "--"], unless: None, from: NODE },
        ]),
    },
    Recipe {
        known_by: "build.py",
        steps: Steps::Tools(&[Tool {
            program: "python3",
            arguments: &["build.py"],
            unless: None,
            from: "https://python.org",
        }]),
    },
];

const NODE: &str = "https://nodejs.org";

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
    /// What builds is not installed.
    #[error("there is no `{tool}` here, which builds such plugins; {from} says how to install it", tool = tool.display())]
    NoTool {
        /// What.
        tool: OsString,
        /// Where it comes from.
        from: &'static str,
    },
    /// Rust is installed for this machine only.
    #[error("the Rust here cannot build plugins, which run on {TARGET}; `rustup target add {TARGET}` lets it")]
    NoTarget,
    /// It said so itself.
    #[error("the build failed; what `{0}` says is above")]
    Failed(String),
    /// The tool says that all is well, and there is no component.
    #[error("the build left no `{COMPONENT}` in the folder; that is where the component belongs")]
    NothingMade,
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
    let recipe = RECIPES.iter().find(|recipe| folder.join(recipe.known_by).is_file());
    let recipe = recipe.ok_or_else(|| NotBuilt::NoPlugin {
        folder: folder.to_owned(),
        known: RECIPES.iter().map(|recipe| recipe.known_by).collect::<Vec<_>>().join(", no "),
    })?;
    // As people write it.
    let here = folder == Path::new(".");
    let component = if here { PathBuf::from(COMPONENT) } else { folder.join(COMPONENT) };
    match recipe.steps {
        Steps::Cargo => {
            let module = cargo(folder, arguments)?;
            let bytes = fs::read(&module).map_err(|error| NotBuilt::File(module, "read", error))?;
            let encoded = component_of(&bytes).map_err(NotBuilt::NoComponent)?;
            fs::write(&component, encoded).map_err(|error| NotBuilt::File(component.clone(), "written", error))?;
        }
        Steps::Tools(tools) => {
            // What an earlier build left would pass for what this one made.
            match fs::remove_file(&component) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(NotBuilt::File(component, "removed", error));
                }
                _ => {}
            }
            for (at, tool) in tools.iter().enumerate() {
                let last = at + 1 == tools.len();
                tool.run(folder, if last { arguments } else { &[] })?;
            }
            if !component.is_file() {
                return Err(NotBuilt::NothingMade);
            }
        }
    }
    Ok(component)
}

impl Tool {
    fn run(&self, folder: &Path, further: &[OsString]) -> Result<(), NotBuilt> {
        if self.unless.is_some_and(|there| folder.join(there).exists()) {
            return Ok(());
        }
        let mut command = Command::new(self.program);
        // Standard output is for what we say ourselves.
        command.current_dir(folder).args(self.arguments).args(further).stdout(io::stderr());
        let status = command.status().map_err(|error| not_run(self.program.into(), self.from, error))?;
        let shown = || format!("{} {}", self.program, self.arguments.join(" ").trim_end_matches(" --"));
        if status.success() { Ok(()) } else { Err(NotBuilt::Failed(shown())) }
    }
}

fn not_run(tool: OsString, from: &'static str, error: io::Error) -> NotBuilt {
    match error.kind() {
        io::ErrorKind::NotFound => NotBuilt::NoTool { tool, from },
        _ => NotBuilt::File(tool.into(), "run", error),
    }
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
    let output = command.output().map_err(|error| not_run(cargo, "https://rustup.rs", error))?;
    if !output.status.success() {
        return Err(NotBuilt::Failed("cargo build".to_owned()));
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
        assert!(said.contains("there is no Cargo.toml, no package.json, no build.py"), "{said}");
    }

    #[test]
    fn what_is_no_module_is_no_component() {
        assert!(component_of(b"plugin").is_err());
    }

    /// As the templates of these languages are built.
    #[test]
    fn other_languages_are_built_by_their_own_tools() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        fs::write(folder.join("build.py"), "import sys\nopen('plugin.wasm', 'w').write(sys.argv[1])\n").unwrap();
        let component = build(folder, &["python".into()]).unwrap();
        assert_eq!(fs::read_to_string(&component).unwrap(), "python");
        let script =
            r#"{ "scripts": { "build": "node -e \"require('fs').writeFileSync('plugin.wasm', process.argv[1])\"" } }"#;
        fs::write(folder.join("package.json"), script).unwrap();
        fs::create_dir(folder.join("node_modules")).unwrap();
        build(folder, &["javascript".into()]).unwrap();
        assert_eq!(fs::read_to_string(&component).unwrap(), "javascript");
        // What was there before does not pass for what was made.
        fs::remove_file(folder.join("package.json")).unwrap();
        fs::write(folder.join("build.py"), "").unwrap();
        assert!(matches!(build(folder, &[]), Err(NotBuilt::NothingMade)));
        fs::write(folder.join("build.py"), "raise SystemExit(1)").unwrap();
        let said = build(folder, &[]).unwrap_err().to_string();
        assert_eq!(said, "the build failed; what `python3 build.py` says is above");
    }
}
