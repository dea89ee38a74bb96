//! The contract as it was first published, of which `wit/0.1.0` is a copy. It never changes: what comes later gets a
//! module of its own, and components of this version are loaded by this one for ever.

wasmtime::component::bindgen!({
    path: "wit/0.1.0",
    world: "channel-plugin",
    imports: { default: async },
    exports: { default: async },
});
