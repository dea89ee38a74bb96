use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use wotp_core::app::Refusal;
#[cfg(feature = "nodes")]
use wotp_store::moving::MoveError;

use crate::config::ConfigError;
use crate::data_folder::FolderError;
use crate::database_lock::LockError;
use crate::server::ServeError;
use crate::wiring::WiringError;

/// Why a command failed, for the person who typed it.
#[derive(Debug)]
pub(super) struct Failure {
    what: String,
    /// Each the cause of the one before.
    causes: Vec<String>,
    help: Option<String>,
}

impl Failure {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), help: None }
    }

    pub(super) fn caused(what: impl Into<String>, cause: impl Error) -> Self {
        let mut failure = Self::new(what);
        failure.causes.push(cause.to_string());
        failure.causes.extend(sources(&cause));
        failure
    }

    fn of(error: &dyn Error, help: Option<String>) -> Self {
        let causes = sources(error).collect();
        Self { what: error.to_string(), causes, help }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says it on standard error.
    pub(super) fn report(&self, json: bool) -> ExitCode {
        let text = if json {
            format!("{}\n", json!({ "error": self.what, "causes": self.causes, "help": self.help }))
        } else {
            self.to_string()
        };
        // Nobody is left to be told that standard error is closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
        ExitCode::FAILURE
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        self.causes.iter().try_for_each(|cause| writeln!(f, "  because: {cause}"))?;
        self.help.iter().try_for_each(|help| writeln!(f, "help: {help}"))
    }
}

fn sources(error: &dyn Error) -> impl Iterator<Item = String> + '_ {
    std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of(&error, Some("`wotp config reference` lists every key; `wotp config check` tries again".to_owned()))
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::of(&error, Some(error.help()))
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::of(&error, Some(error.help().to_owned()))
    }
}

impl From<WiringError> for Failure {
    fn from(error: WiringError) -> Self {
        Self::of(&error, error.help())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::of(&error, error.help())
    }
}

impl From<crate::wiring::embedded::OpenError> for Failure {
    fn from(error: crate::wiring::embedded::OpenError) -> Self {
        Self::of(&error, None)
    }
}

#[cfg(feature = "nodes")]
impl From<MoveError> for Failure {
    fn from(error: MoveError) -> Self {
        Self::of(&error, error.help().map(str::to_owned))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::Invalid(fields) => {
                let all = fields.iter().map(|field| format!("{}: {}", field.field, field.message));
                Self::new(all.collect::<Vec<_>>().join("; "))
            }
            Refusal::NotFound("tenant" | "tenant on this platform") => {
                Self::of(&refusal, Some("`wotp tenant list` shows them all".to_owned()))
            }
            Refusal::NotFound("API key") => {
                Self::of(&refusal, Some("`wotp key list TENANT` shows them all".to_owned()))
            }
            _ => Self::of(&refusal, None),
        }
    }
}
