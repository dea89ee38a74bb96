//! Everything that remembers: stores, queues and limiters behind the ports of `wotp-core`.

pub mod queue;
