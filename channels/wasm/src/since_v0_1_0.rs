//! The contract as it was first published. It never changes: what comes later gets a module of its own, and
//! components of this version are loaded by this one for ever.

wasmtime::component::bindgen!({
    path: "../../plugins/wit",
    world: "channel-plugin",
    imports: { default: async },
    exports: { default: async },
});
