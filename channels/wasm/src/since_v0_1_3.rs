//! What came to the contract with 0.1.3, of which `wit/0.1.3` is a copy: taking back what was sent. Everything else is as it was, whose types these are.

wasmtime::component::bindgen!({
    path: "wit/0.1.3",
    world: "revoking-plugin",
    imports: { default: async },
    exports: { default: async },
    with: {
        "wotp:channel/types@0.1.3": crate::since_v0_1_0::wotp::channel::types,
        "wotp:channel/http@0.1.3": crate::since_v0_1_0::wotp::channel::http,
        "wotp:channel/host@0.1.3": crate::since_v0_1_0::wotp::channel::host,
    },
});
