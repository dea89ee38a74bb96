//! Deliveries through plugins, against the same channel built in; what a plugin takes of the machine; and how long
//! installed ones take to load.
//!
//! Measured in a process of its own for each, on one thread, by the processor time that the kernel counts for it: what else
//! the machine does is not in it, and neither are the providers that are called.

mod channels;
mod gateway;
mod loading;
mod operator;
mod press;
mod provider;
mod siege;
mod turns;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wotp_channel_wasm::{Refusal, RuntimeError, SettingsError};
use wotp_core::ports::{PluginFault, SendError};

pub use gateway::Gateway;
pub use loading::{Loaded, compile};
pub use provider::Provider;
pub use siege::{Attack, Fared, STARTS_PER_SECOND, Siege, While};
pub use turns::{Comparison, Flood, Turn};

use crate::api::ApiError;
use crate::load::LoadError;
use crate::process::ProcessError;
use crate::stand::{Stand, StandError};

/// How messages get to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Over HTTP, with a connection for each and so many at once.
    Http {
        /// Where it is.
        at: SocketAddr,
        /// Deliveries under way at once.
        callers: usize,
    },
    /// It answers at once, without a connection; so does who takes all messages for sent.
    AtOnce,
}

/// What one process measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A plugin and the same channel built in, by turns.
    Compare {
        /// Where components are.
        components: PathBuf,
        /// Whose; none for messages that are taken for sent without a call.
        provider: Option<Provider>,
        /// Each way of reaching the provider.
        ways: Vec<Way>,
        /// Length of each turn.
        seconds: f64,
        /// Turns of each.
        rounds: usize,
    },
    /// Deliveries through a plugin that calls nobody, one after another.
    Flood {
        /// Where components are.
        components: PathBuf,
        /// Those before memory is looked at first.
        warm_up: u64,
        /// Those after that.
        count: u64,
    },
    /// Installed plugins, loaded from what they were compiled to.
    Load {
        /// Where components are.
        components: PathBuf,
        /// Which, by turns.
        providers: Vec<Provider>,
        /// Where they are kept compiled.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
}

/// Why nothing is known of plugins.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// A component cannot be read.
    #[error("the component {file} is not there; `.ci/guests` builds it and prints the folder for --components")]
    Component {
        /// Where it should be.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody said where components are.
    #[error("--components is missing: the folder that `.ci/guests` prints")]
    NoComponents,
    /// Plugins do not run here.
    #[error("plugins do not run")]
    Runtime(#[from] RuntimeError),
    /// A component is none.
    #[error("a component is refused")]
    Refused(#[from] Refusal),
    /// Its settings are wrong.
    #[error("a plugin's settings are refused")]
    Settings(#[from] SettingsError),
    /// It cannot be made ready.
    #[error("a plugin cannot be used")]
    Fault(#[from] PluginFault),
    /// It is not where it was put.
    #[error("nothing is compiled of the component {0}")]
    NotCompiled(String),
    /// What is left of an attack never ends.
    #[error("messages of the last attack are still under way a minute and a half after it")]
    Restless,
    /// A message was not sent.
    #[error("a message was not sent")]
    Send(#[from] SendError),
    /// The plugin and what it is compared with ask for something else.
    #[error("the plugin and the channel that is built in differ: {plugin} and not {built_in}")]
    Differs {
        /// What is built in asked.
        built_in: String,
        /// What the plugin asked.
        plugin: String,
    },
    /// A file or a socket.
    #[error("the system does not give what it takes")]
    System(#[from] io::Error),
    /// What a process uses.
    #[error("what the process uses is not to be had")]
    Usage(#[from] ProcessError),
    /// This program is not where it was.
    #[error("the process cannot be started")]
    Stand(#[from] StandError),
    /// A call failed that is not measured.
    #[error("a call beside the measured ones failed")]
    Api(#[from] ApiError),
    /// What is measured has no result.
    #[error("a run has no result")]
    Load(#[from] LoadError),
    /// The process that measures says nothing.
    #[error("the process that measures ended without a result: {0}")]
    NoResult(String),
    /// A bug of ours.
    #[error("a task panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Order {
    /// Measures it, in a process of its own.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn carried_out<T: DeserializeOwned>(&self) -> Result<T, PluginsError> {
        let order = serde_json::to_string(self).map_err(io::Error::from)?;
        let mut command = tokio::process::Command::from(Stand::own(["plugins", "--order", &order])?);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        let nothing = || PluginsError::NoResult(String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
        if !output.status.success() {
            return Err(nothing());
        }
        serde_json::from_slice(&output.stdout).map_err(|_| nothing())
    }

    /// Measures it, in this process, and prints the result.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn measure(order: &str) -> Result<(), PluginsError> {
        let order: Self = serde_json::from_str(order).map_err(io::Error::from)?;
        match order {
            Self::Compare { components, provider, ways, seconds, rounds } => {
                print(&turns::compare(&components, provider, &ways, turns::Length { seconds, rounds }).await?)
            }
            Self::Flood { components, warm_up, count } => print(&turns::flood(&components, warm_up, count).await?),
            Self::Load { components, providers, folder, count } => {
                print(&loading::load(&components, &providers, &folder, count).await?)
            }
        }
    }
}

fn print(result: &impl Serialize) -> Result<(), PluginsError> {
    let text = serde_json::to_string(result).map_err(io::Error::from)?;
    Ok(io::stdout().write_all(text.as_bytes())?)
}
