use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bounds;
use crate::lane::Lane;
use crate::sandbox::Call;
use crate::since_v0_1_0::ChannelPlugin;
use crate::since_v0_1_1::wotp::channel::{callback, receipts, signatures};
use crate::since_v0_1_2::probing::wotp::channel::probed;
use crate::since_v0_1_4::wotp::channel::notices;

/// How often whatever runs in the sandbox is interrupted, so that others get their turn.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Stack of what runs in the sandbox, in bytes.
const STACK: usize = 512 * 1024;
/// Modules within one component: those of languages with a runtime of their own come in dozens.
const MODULES_MAX: u32 = 40;
/// Bytes at the beginning of a table that are written over after a call, instead of given back to the system to be asked
/// for again by the next: as many as languages with a runtime of their own need.
const TABLE_KEPT: usize = 64 * 1024;
/// Bytes of what the engine keeps for an instance, besides its memory.
const INSTANCE_SIZE: usize = 4 * 1024 * 1024;

/// What plugins run in: one for a process.
pub struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Call>,
    /// The ticks end with the last of these: each component has one, and may outlive this.
    pub(crate) ticks: Sender<()>,
    /// Where calls go on that compute for long.
    pub(crate) lane: Arc<Lane>,
}

/// Why nothing can be run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine does not start: the machine has not enough address space, or is of a kind that is not known.
    #[error("WebAssembly cannot be run on this machine: {0}")]
    Engine(String),
    /// The system gives no thread.
    #[error("there is no thread for plugins")]
    Thread(#[source] std::io::Error),
}

impl Runtime {
    /// A runtime with room for so many calls at once, of all plugins together.
    ///
    /// The room is address space, reserved at once; memory is taken as plugins use it, and given back after each call.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn new(calls_max: u32) -> Result<Self, RuntimeError> {
        let fault = |error: wasmtime::Error| RuntimeError::Engine(error.to_string());
        let engine = engine(calls_max).map_err(fault)?;
        let mut linker = Linker::new(&engine);
        ChannelPlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        // The rest of 0.1.1 is that of 0.1.0, which components of both are given.
        receipts::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        callback::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        signatures::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        probed::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        notices::add_to_linker::<_, HasSelf<_>>(&mut linker, |call| call).map_err(fault)?;
        let ticks = tick(&engine).map_err(RuntimeError::Thread)?;
        let lane = Lane::shared().map_err(RuntimeError::Thread)?;
        Ok(Self { engine, linker, ticks, lane })
    }
}

/// An engine with room for so many calls at once.
pub(crate) fn engine(calls_max: u32) -> wasmtime::Result<Engine> {
    // Each call may have a second memory and table, as what a language brings along asks for.
    let (instances, modules) = (calls_max, calls_max.saturating_mul(MODULES_MAX));
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(modules)
        .total_memories(instances.saturating_mul(bounds::MEMORIES_MAX))
        .total_tables(instances.saturating_mul(bounds::TABLES_MAX))
        .total_stacks(instances)
        .max_core_instances_per_component(MODULES_MAX)
        .max_memories_per_component(bounds::MEMORIES_MAX)
        .max_tables_per_component(bounds::TABLES_MAX)
        .max_memory_size(bounds::MEMORY_MAX)
        .table_elements(bounds::TABLE_ELEMENTS_MAX)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_core_instance_size(INSTANCE_SIZE)
        // Nothing of one call is there for the next: tables are written over, memory is given back. Rejected: to write
        // over memory too. What JavaScript uses of its memory is scattered over all of it, and to write over that much
        // takes from Rust what it gives to JavaScript. To have the kernel say which pages were used (`pagemap_scan`) takes
        // a third off either; but of one that is swapped out or being moved at that moment it says nothing, and the next
        // call would find it as it was left.
        .table_keep_resident(TABLE_KEPT)
        .linear_memory_keep_resident(0);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Counts the engine's ticks until what is given back is dropped. On a thread of its own: tasks would stand still when
/// all threads of the runtime are busy with plugins, which is when ticks are needed.
fn tick(engine: &Engine) -> std::io::Result<Sender<()>> {
    let (ticks, end) = channel();
    let engine = engine.weak();
    std::thread::Builder::new().name("plugin-ticks".to_owned()).spawn(move || {
        while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    })?;
    Ok(ticks)
}
