//! A component as it was read: looked at, made ready to run, and asked what it is.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jsonschema::Validator;

use crate::descriptor::{Descriptor, DescriptorFault};
use crate::imports;
use crate::runtime::Runtime;
use crate::sandbox::{self, Call, Errand, Grant, World};
use crate::since_v0_1_0::ChannelPluginPre;
use crate::since_v0_1_1::HearingPluginPre;

/// Largest component, in bytes. Those of Python are 20 MB.
const SIZE_MAX: usize = 64 * 1024 * 1024;
/// What WebAssembly begins with.
const MAGIC: &[u8] = b"\0asm";
/// What follows in a module. Source: WebAssembly core specification, 5.5.16.
const OF_A_MODULE: &[u8] = &[1, 0, 0, 0];
/// How long a plugin may take to say what it is, with all that a language does before.
const DESCRIBING_MAX: Duration = Duration::from_secs(2);

/// A component that is a plugin.
pub struct Component {
    pub(crate) pre: ChannelPluginPre<Call>,
    /// The same, for one that hears what its provider tells later.
    pub(crate) hearing: Option<HearingPluginPre<Call>>,
    pub(crate) schema: Validator,
    descriptor: Descriptor,
    contract: String,
    /// As long as it is there, time goes on for what runs.
    _ticks: Sender<()>,
}

/// Why a file is no plugin, and what whoever made it may do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many bytes.
    #[error("it has {} MB; a plugin has at most {} MB", .0 / 1_000_000, SIZE_MAX / 1_000_000)]
    Size(u64),
    /// Something else.
    #[error("it is no WebAssembly")]
    NoWasm,
    /// A module.
    #[error("it is a WebAssembly module and not a component; make a component of it, as `wotp plugin build` does")]
    Module,
    /// What it holds is wrong, or of a newer kind.
    #[error("it is no component that can be compiled: {0}")]
    Broken(String),
    /// WASI.
    #[error(
        "it asks for `{0}`, and plugins get nothing of WASI; build it for a target without, as wasm32-unknown-unknown, or with a stub of WASI"
    )]
    Wasi(String),
    /// Something else that nobody gives.
    #[error("it asks for `{0}`, which WOTP does not offer to plugins")]
    Import(String),
    /// Another version of the contract.
    #[error(
        "it was made for version `{0}` of the contract `wotp:channel`, and this program knows 0.1; a newer contract needs a newer WOTP"
    )]
    Contract(String),
    /// It exports no channel.
    #[error("it does not export `wotp:channel/delivery`, which is what makes a component a plugin")]
    World,
    /// The functions are others.
    #[error("it does not fit the contract `wotp:channel`: {0}")]
    Shape(String),
    /// It does not say what it is.
    #[error("it was asked what it is and did not answer: {0}")]
    Silent(String),
    /// What it says is wrong.
    #[error("what it says about itself does not hold: {0}")]
    Descriptor(#[from] DescriptorFault),
}

/// Why a file gave no bytes of a component.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The system does not give it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is not one to be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Component {
    /// The bytes of a file, which is looked at first: one that is too large is not read, and what is no file, as a pipe
    /// that nobody writes to, is not waited for.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(file: &Path) -> Result<Vec<u8>, Unread> {
        let about = fs::metadata(file)?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file").into());
        }
        if about.len() > SIZE_MAX as u64 {
            return Err(Refusal::Size(about.len()).into());
        }
        let mut bytes = Vec::new();
        // One more than it may have, so that one that grows meanwhile is still found too large.
        fs::File::open(file)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Looks at a component, compiles it and asks it in the sandbox what it is. Computes for up to seconds.
    ///
    /// # Errors
    /// [`Refusal`], in words for whoever made it.
    pub async fn load(runtime: &Runtime, bytes: &[u8], world: World) -> Result<Self, Refusal> {
        if bytes.len() > SIZE_MAX {
            return Err(Refusal::Size(bytes.len() as u64));
        }
        match bytes.strip_prefix(MAGIC) {
            None => return Err(Refusal::NoWasm),
            Some(rest) if rest.starts_with(OF_A_MODULE) => return Err(Refusal::Module),
            Some(_) => {}
        }
        let engine = &runtime.engine;
        let component = wasmtime::component::Component::new(engine, bytes)
            .map_err(|error| Refusal::Broken(error.root_cause().to_string()))?;
        let kind = component.component_type();
        imports::allowed(kind.imports(engine).map(|(name, _)| name))?;
        imports::complete(kind.exports(engine).map(|(name, _)| name))?;
        let shape = |error: wasmtime::Error| Refusal::Shape(error.root_cause().to_string());
        let names = kind.imports(engine).chain(kind.exports(engine)).map(|(name, _)| name);
        let contract = imports::version(names);
        let ready = runtime.linker.instantiate_pre(&component).map_err(shape)?;
        let hears = imports::hears(kind.exports(engine).map(|(name, _)| name));
        let hearing = hears.then(|| HearingPluginPre::new(ready.clone())).transpose().map_err(shape)?;
        let pre = ChannelPluginPre::new(ready).map_err(shape)?;
        let (descriptor, schema) = described(&pre, world).await?;
        Ok(Self { pre, hearing, schema, descriptor, contract, _ticks: runtime.ticks.clone() })
    }

    /// Asks it once more what it is: the same as before, if it keeps the contract.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn describe(&self, world: World) -> Result<Descriptor, Refusal> {
        described(&self.pre, world).await.map(|(descriptor, _)| descriptor)
    }

    /// Whether its provider can tell it later what became of a message.
    pub fn hears(&self) -> bool {
        self.hearing.is_some()
    }

    /// The version of the contract that it was made for, as in `0.1.1`.
    pub fn contract(&self) -> &str {
        &self.contract
    }

    /// What it says that it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

/// What it says that it is, with nothing granted.
async fn described(pre: &ChannelPluginPre<Call>, world: World) -> Result<(Descriptor, Validator), Refusal> {
    let nothing = Grant { channel: String::new(), hosts: Vec::new(), secrets: Vec::new(), world };
    let call = Call::new(&Arc::new(nothing), Errand::Look, DESCRIBING_MAX);
    let said = sandbox::describe(pre, call).await.map_err(|stopped| Refusal::Silent(stopped.to_string()))?;
    Ok(Descriptor::read(said)?)
}
