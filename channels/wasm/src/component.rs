//! A component as it was read: looked at, made ready to run, and asked what it is.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use wotp_core::domain::plugin::COMPONENT_BYTES_MAX;

use crate::descriptor::{Descriptor, DescriptorFault};
use crate::imports::{self, CONTRACT};
use crate::runtime::Runtime;
use crate::sandbox::{self, Call, Errand, Grant, World};
use crate::schema::Schema;
use crate::since_v0_1_0::ChannelPluginPre;
use crate::since_v0_1_1::HearingPluginPre;
use crate::since_v0_1_2::asking::AskingPluginPre;
use crate::since_v0_1_2::probing::ProbingPluginPre;
use crate::since_v0_1_3::RevokingPluginPre;
use crate::since_v0_1_4::CheckingPluginPre;
use crate::turns::Turns;

/// Largest component, in bytes: no more than is installed. Those of Python are 20 MB.
pub(crate) const SIZE_MAX: usize = COMPONENT_BYTES_MAX;
/// What WebAssembly begins with.
const MAGIC: &[u8] = b"\0asm";
/// What follows in a module. Source: WebAssembly core specification, 5.5.16.
const OF_A_MODULE: &[u8] = &[1, 0, 0, 0];
/// How long a plugin may take to say what it is, with all that a language does before.
const DESCRIBING_MAX: Duration = Duration::from_secs(5);

/// How long it may take to say what it finds wrong with settings.
const VALIDATING_MAX: Duration = Duration::from_secs(5);

/// A component that is a plugin.
pub struct Component {
    pub(crate) pre: ChannelPluginPre<Call>,
    /// The same, for one that hears what its provider tells later.
    pub(crate) hearing: Option<HearingPluginPre<Call>>,
    /// The same, for one that asks its provider how a message fares.
    pub(crate) asking: Option<AskingPluginPre<Call>>,
    /// The same, for one that asks its provider whether somebody can be reached.
    pub(crate) probing: Option<ProbingPluginPre<Call>>,
    /// The same, for one that has its provider take back what was sent.
    pub(crate) revoking: Option<RevokingPluginPre<Call>>,
    /// The same, for one that looks at the account at its provider.
    pub(crate) checking: Option<CheckingPluginPre<Call>>,
    pub(crate) schema: Schema,
    /// The turns that all its calls take.
    pub(crate) turns: Arc<Turns>,
    descriptor: Descriptor,
    contract: String,
    unused: Vec<String>,
    /// As long as it is there, time goes on for what runs.
    _ticks: Sender<()>,
}

/// Why a file is no plugin, and what whoever made it may do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many bytes.
    #[error("it has {} MiB; a plugin has at most {} MiB, so build it smaller", .0.div_ceil(1 << 20), SIZE_MAX >> 20)]
    Size(u64),
    /// Something else.
    #[error("it is no WebAssembly; give the `.wasm` file that `wotp plugin build` writes, and not packed in another")]
    NoWasm,
    /// A module.
    #[error("it is a WebAssembly module and not a component; make a component of it, as `wotp plugin build` does")]
    Module,
    /// What it holds is wrong, or of a newer kind.
    #[error("it is no component that can be compiled: {0}")]
    Broken(String),
    /// It costs too much to compile.
    #[error("it cannot be compiled within {seconds} s of computing and {memory_gb} GB of memory; make it smaller")]
    TooMuch {
        /// Seconds that it may take.
        seconds: u64,
        /// Memory that it may take.
        memory_gb: u64,
    },
    /// It is another one each time.
    #[error("it was asked twice what it is, and did not say the same; let `describe` say nothing that changes")]
    Fickle,
    /// It crashes.
    #[error(
        "it was asked about settings that are not right, and crashed instead of saying so: {0}; let `validate` return what is wrong"
    )]
    Crashes(String),
    /// WASI.
    #[error(
        "it asks for `{0}`, and plugins get nothing of WASI; build it for a target without, as wasm32-unknown-unknown, or with a stub of WASI"
    )]
    Wasi(String),
    /// Something else that nobody gives.
    #[error(
        "it asks for `{0}`, which WOTP does not offer to plugins; ask for what is in the contract, and nothing else"
    )]
    Import(String),
    /// Another version of the contract.
    #[error(
        "it was made for version `{0}` of the contract `wotp:channel`, and this program knows {CONTRACT}; a newer contract needs a newer WOTP"
    )]
    Contract(String),
    /// It exports no channel.
    #[error(
        "it does not export `wotp:channel/delivery`, which is what makes a component a plugin; begin one with `wotp plugin new`"
    )]
    World,
    /// The functions are others.
    #[error("it does not fit the contract `wotp:channel`: {0}; build it anew with that of `wotp plugin contract`")]
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
        Self::looks_like_one(bytes)?;
        let component = wasmtime::component::Component::new(&runtime.engine, bytes)
            .map_err(|error| Refusal::Broken(error.root_cause().to_string()))?;
        Self::of(runtime, &component, world).await
    }

    /// Whether bytes begin as a component does, and are no more than one may have.
    pub(crate) fn looks_like_one(bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() > SIZE_MAX {
            return Err(Refusal::Size(bytes.len() as u64));
        }
        match bytes.strip_prefix(MAGIC) {
            None => Err(Refusal::NoWasm),
            Some(rest) if rest.starts_with(OF_A_MODULE) => Err(Refusal::Module),
            Some(_) => Ok(()),
        }
    }

    /// Looks at a component that was compiled, and asks it in the sandbox what it is.
    ///
    /// # Errors
    /// [`Refusal`], in words for whoever made it.
    pub(crate) async fn of(
        runtime: &Runtime,
        component: &wasmtime::component::Component,
        world: World,
    ) -> Result<Self, Refusal> {
        let engine = &runtime.engine;
        let kind = component.component_type();
        imports::allowed(kind.imports(engine).map(|(name, _)| name))?;
        imports::complete(kind.exports(engine).map(|(name, _)| name))?;
        let shape = |error: wasmtime::Error| Refusal::Shape(error.root_cause().to_string());
        let names = kind.imports(engine).chain(kind.exports(engine)).map(|(name, _)| name);
        let contract = imports::version(names);
        let unused = imports::unused(kind.exports(engine).map(|(name, _)| name));
        let ready = runtime.linker.instantiate_pre(component).map_err(shape)?;
        let offers =
            |wanted| imports::offers(kind.exports(engine).map(|(name, _)| name), wanted).then(|| ready.clone());
        let hearing = offers(imports::HEARING).map(HearingPluginPre::new).transpose().map_err(shape)?;
        let asking = offers(imports::ASKING).map(AskingPluginPre::new).transpose().map_err(shape)?;
        let probing = offers(imports::PROBING).map(ProbingPluginPre::new).transpose().map_err(shape)?;
        let revoking = offers(imports::REVOKING).map(RevokingPluginPre::new).transpose().map_err(shape)?;
        let checking = offers(imports::CHECKING).map(CheckingPluginPre::new).transpose().map_err(shape)?;
        let pre = ChannelPluginPre::new(ready).map_err(shape)?;
        let turns = Arc::new(Turns::new(&runtime.lane));
        let (descriptor, schema) = described(&pre, world, &turns).await?;
        let ticks = runtime.ticks.clone();
        Ok(Self {
            pre,
            hearing,
            asking,
            probing,
            revoking,
            checking,
            schema,
            turns,
            descriptor,
            contract,
            unused,
            _ticks: ticks,
        })
    }

    /// Asks it once more what it is: the same as before, if it keeps the contract.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn describe(&self, world: World) -> Result<Descriptor, Refusal> {
        described(&self.pre, world, &self.turns).await.map(|(descriptor, _)| descriptor)
    }

    /// Whether it behaves as the contract asks, as far as can be seen while it calls nobody: it says the same each time,
    /// and finds something wrong with settings instead of crashing. One that does not is not installed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn conforms(&self, world: World) -> Result<(), Refusal> {
        if self.describe(world.clone()).await? != self.descriptor {
            return Err(Refusal::Fickle);
        }
        for config in ["{}", r#"{"no-such-setting":[0,"\u0000",null,{}]}"#, "[]", "null", "{"] {
            let asked =
                sandbox::validate(&self.pre, nobodys_call(world.clone(), &self.turns, VALIDATING_MAX), config).await;
            asked.map(drop).map_err(|stopped| Refusal::Crashes(stopped.to_string()))?;
        }
        Ok(())
    }

    /// Whether its provider can tell it later what became of a message.
    pub fn hears(&self) -> bool {
        self.hearing.is_some()
    }

    /// Whether it asks its provider what became of a message.
    pub fn asks(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether it asks its provider beforehand whether somebody can be reached.
    pub fn probes(&self) -> bool {
        self.probing.is_some()
    }

    /// Whether it has its provider take back what was sent.
    pub fn revokes(&self) -> bool {
        self.revoking.is_some()
    }

    /// Whether it looks at the account at its provider.
    pub fn checks(&self) -> bool {
        self.checking.is_some()
    }

    /// The version of the contract that it was made for, as in `0.1.1`.
    pub fn contract(&self) -> &str {
        &self.contract
    }

    /// What it offers of the contract that this program does not use, as a newer one does: `wotp:channel/…@…`.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// What it says that it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

/// What it says that it is, with nothing granted.
async fn described(
    pre: &ChannelPluginPre<Call>,
    world: World,
    turns: &Arc<Turns>,
) -> Result<(Descriptor, Schema), Refusal> {
    let said = sandbox::describe(pre, nobodys_call(world, turns, DESCRIBING_MAX)).await;
    Ok(Descriptor::read(said.map_err(|stopped| Refusal::Silent(stopped.to_string()))?)?)
}

/// A call of a component that is no channel yet.
fn nobodys_call(world: World, turns: &Arc<Turns>, time: Duration) -> Call {
    let turns = Arc::clone(turns);
    let nothing =
        Grant { channel: String::new(), connection: None, hosts: Vec::new(), secrets: Vec::new(), world, turns };
    Call::new(&Arc::new(nothing), Errand::Look, time)
}
