use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wotp_workbench::{Language, template};

use crate::cli::Global;
use crate::cli::failure::Failure;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Its name, as in `acme-sms`: small letters, digits and dashes
    name: String,
    /// The language that it is written in
    #[arg(long, value_name = "LANGUAGE", default_value_t = Language::Rust)]
    language: Language,
    /// Where its folder is made
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    place: PathBuf,
}

pub(super) fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { name, language, place } = arguments;
    let what = format!("`{name}` was not begun");
    let files = template::begin(place, name, *language).map_err(|error| Failure::caused(what, error))?;
    let folder = if place == Path::new(".") { PathBuf::from(name) } else { place.join(name) };
    let machines = json!({ "folder": folder, "language": language.to_string(), "files": files });
    global.output().print(&machines, || {
        let folder = folder.display();
        format!("{folder} is a plugin in {language}. {folder}/README.md says what is where. Build it:\n\n  cd {folder} && wotp plugin build")
    })?;
    Ok(ExitCode::SUCCESS)
}
