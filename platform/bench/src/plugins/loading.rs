//! Installed plugins, loaded as a server loads them that was started anew: from what they were compiled to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use wotp_channel_wasm::{Compiler, Shelf, Workshop, compile_here};
use wotp_core::domain::plugin::{CALLS, Release, TIMEOUT_SECONDS};
use wotp_core::ports::{Clock as _, PluginHost as _, PluginSetup};
use wotp_server::system::SystemClock;
use zeroize::Zeroizing;

use super::channels::{calling, world};
use super::{PluginsError, Provider, turns};
use crate::stand::folder_bytes;

/// Where the providers are. Nobody calls them.
const HOST: &str = "gateway.example";

/// What loading took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Loaded {
    /// How many were loaded.
    pub count: usize,
    /// Bytes of the components.
    pub component_bytes: u64,
    /// Bytes of what they were compiled to.
    pub compiled_bytes: u64,
    /// How long it took.
    pub wall_seconds: f64,
    /// Processor time of the process meanwhile.
    pub cpu_seconds: f64,
}

/// What the process does that compiles one component. Ends with what is returned.
pub fn compile() -> u8 {
    compile_here(io::stdin().lock(), io::stdout().lock())
}

/// A workshop as a server has it, with what it compiled in `folder`.
fn workshop(folder: &Path) -> Result<Workshop, PluginsError> {
    let shelf = Shelf::new(folder, Zeroizing::new([7; 32]));
    Ok(Workshop::new(shelf, Compiler::new(std::env::current_exe()?, ["compile"]), world(calling())))
}

/// A component like another one, and different to whoever looks at its bytes: with a section that nobody reads.
pub fn another(component: &[u8], number: u32) -> Vec<u8> {
    // A custom section: its id, its size, and a name of 2 bytes.
    let mut bytes = [component, &[0, 7, 2, b'n', b'o']].concat();
    bytes.extend(number.to_le_bytes());
    bytes
}

/// Installs so many plugins, those for `providers` by turns, and loads them with nothing of them in memory.
pub(super) async fn load(
    components: &Path,
    providers: &[Provider],
    folder: &Path,
    count: usize,
) -> Result<Loaded, PluginsError> {
    let installed = install(components, providers, folder, count).await?;
    let component_bytes = installed.iter().map(|(_, release)| release.size as u64).sum();
    let compiled_bytes = folder_bytes(folder)?;
    let (begun, before) = (Instant::now(), turns::cpu());
    let workshop = workshop(folder)?;
    let mut channels = Vec::with_capacity(count);
    for (provider, release) in installed {
        let known = workshop.known(&release.sha256).await?;
        let ready = known.ok_or_else(|| PluginsError::NotCompiled(release.sha256.clone()))?;
        let (name, secret) = provider.secret();
        let Value::Object(config) = provider.config(&format!("https://{HOST}")) else {
            unreachable!("it is an object")
        };
        let setup = PluginSetup {
            channel: "sms".to_owned(),
            account: None,
            // As a node that starts.
            asked: true,
            hosts: vec![HOST.to_owned()],
            secrets: BTreeMap::from([(name.to_owned(), Zeroizing::new(secret.to_owned()))]),
            config,
            concurrency: CALLS,
            timeout: SignedDuration::from_secs(TIMEOUT_SECONDS.into()),
            release,
        };
        channels.push(ready.channel(setup).await?);
    }
    let cpu_seconds = turns::cpu().saturating_sub(before).as_secs_f64();
    let wall_seconds = begun.elapsed().as_secs_f64();
    Ok(Loaded { count: channels.len(), component_bytes, compiled_bytes, wall_seconds, cpu_seconds })
}

/// Compiles so many plugins, each from a component of its own.
async fn install(
    components: &Path,
    providers: &[Provider],
    folder: &Path,
    count: usize,
) -> Result<Vec<(Provider, Release)>, PluginsError> {
    let workshop = workshop(folder)?;
    let mut installed = Vec::with_capacity(count);
    for (number, provider) in (0..).zip(providers.iter().cycle().take(count)) {
        let file = components.join(provider.component()).with_extension("wasm");
        let original = fs::read(&file).map_err(|source| PluginsError::Component { file, source })?;
        let release = workshop.examine(&another(&original, number), None, SystemClock.now()).await?;
        installed.push((*provider, release));
    }
    Ok(installed)
}
