//! Compiling strangers' components: in a process of its own, which ends before it takes too much.
//!
//! A component that passes every check can still be made to cost the compiler minutes or gigabytes. So the server starts
//! itself once more, as [`compile_here`], which bounds itself by what the system offers and reads the component from
//! its standard input.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::component::{Refusal, SIZE_MAX};
use crate::runtime;

/// Longest that it may compute, in seconds. What a plugin of Python takes is 5 s, of JavaScript 22 s at most.
const CPU_SECONDS_MAX: u64 = 120;
/// Most memory that it may take.
const MEMORY_MAX: u64 = 2 << 30;
/// Longest that is waited for it, on a machine that has much else to do.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Largest that a component may become.
const COMPILED_MAX: u64 = 256 << 20;
/// How it ends when the component cannot be compiled. What it wrote says why.
const REFUSED: i32 = 3;

/// Compiles, one component after another.
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<OsString>,
    turn: Semaphore,
}

/// Why there is nothing compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileFault {
    /// It is the component.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is the machine.
    #[error("the process that compiles plugins does not run")]
    Process(#[source] io::Error),
    /// It is whatever was started.
    #[error("the process that compiles plugins ended without saying why: {0}")]
    Ended(String),
}

impl Compiler {
    /// One that starts this program with these arguments, which is to do [`compile_here`].
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, turn: Semaphore::new(1) }
    }

    /// What the engine makes of a component, for this machine.
    ///
    /// # Errors
    /// [`CompileFault`].
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileFault> {
        // It is never closed.
        let _turn = self.turn.acquire().await.map_err(|error| CompileFault::Ended(error.to_string()))?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            // It needs nothing of what the server was told, secrets least of all.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(CompileFault::Process)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let work = async {
            let give = async {
                if let Some(mut input) = input {
                    // One that ended before it had read all says why by how it ended.
                    let _ = input.write_all(component).await;
                }
            };
            let take = async {
                let mut said = Vec::new();
                if let Some(output) = output {
                    output.take(COMPILED_MAX + 1).read_to_end(&mut said).await?;
                }
                Ok::<_, io::Error>(said)
            };
            let ((), said) = tokio::join!(give, take);
            Ok::<_, io::Error>((said?, child.wait().await?))
        };
        let too_much = || Refusal::TooMuch { seconds: CPU_SECONDS_MAX, memory_gb: MEMORY_MAX >> 30 };
        let (said, status) = match timeout(WAIT_MAX, work).await {
            Ok(done) => done.map_err(CompileFault::Process)?,
            Err(_) => return Err(too_much().into()),
        };
        match status.code() {
            // It could not write the rest, and ended in whichever way.
            _ if said.len() as u64 > COMPILED_MAX => Err(too_much().into()),
            Some(0) => Ok(said),
            Some(REFUSED) => Err(Refusal::Broken(String::from_utf8_lossy(&said).into_owned()).into()),
            // By the system, for the time; or by itself, for the memory.
            None => Err(too_much().into()),
            Some(_) => Err(CompileFault::Ended(status.to_string())),
        }
    }
}

/// What the process does that compiles one component: reads it, writes what it was made, and ends with what is returned.
/// Before that it bounds itself, for good.
pub fn compile_here(input: impl Read, output: impl Write) -> u8 {
    match compiled(input, output) {
        Ok(Ok(())) => 0,
        Ok(Err(())) => REFUSED.unsigned_abs().try_into().unwrap_or(1),
        Err(_) => 1,
    }
}

fn compiled(input: impl Read, mut output: impl Write) -> io::Result<Result<(), ()>> {
    let at_most = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Cpu, at_most(CPU_SECONDS_MAX))?;
    // What it takes, not what address space it reserves: the engine reserves a lot.
    setrlimit(Resource::Data, at_most(MEMORY_MAX))?;
    setrlimit(Resource::Core, at_most(0))?;
    let mut component = Vec::new();
    input.take(SIZE_MAX as u64 + 1).read_to_end(&mut component)?;
    let engine = runtime::engine(1).map_err(|error| io::Error::other(error.to_string()))?;
    match engine.precompile_component(&component) {
        Ok(compiled) => output.write_all(&compiled).and_then(|()| output.flush()).map(Ok),
        Err(error) => write!(output, "{}", error.root_cause()).and_then(|()| output.flush()).map(Err),
    }
}
