//! What one call of a plugin may take of the machine's memory.

use wasmtime::ResourceLimiter;

/// Memory that a plugin may use in one call, in bytes: all its memories together.
pub(crate) const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Memories in one component: a language's own, and one for each component that stands for what is not lent, which the
/// tools of JavaScript bring along and leave empty.
pub(crate) const MEMORIES_MAX: u32 = 3;
/// Tables in one component.
pub(crate) const TABLES_MAX: u32 = 8;
/// Elements of a table.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// The bounds of one call.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// Bytes that its memories have together.
    memory: usize,
}

/// The engine asks before it makes a memory or table as well as before one grows. Rejected: `StoreLimits` of the engine,
/// which bounds each memory alone.
impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let together = self.memory.saturating_sub(current).saturating_add(desired);
        let allowed = together <= MEMORY_MAX;
        if allowed {
            self.memory = together;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_bounded_together() {
        const MIB: usize = 1024 * 1024;
        let mut bounds = Bounds::default();
        let mut grows = |from: usize, to: usize| bounds.memory_growing(from * MIB, to * MIB, None).unwrap();
        assert!(grows(0, 10) && grows(10, 40));
        // Another memory has what is left, and no more, however often it asks.
        assert!(!grows(0, 25) && !grows(0, 25));
        assert!(grows(0, 24));
        assert!(!grows(40, 41) && !grows(24, usize::MAX / MIB));
    }
}
