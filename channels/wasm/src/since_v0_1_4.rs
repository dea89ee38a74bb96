//! What came to the contract with 0.1.4: how the account at the provider stands. Everything else is as it was, whose types
//! these are.

wasmtime::component::bindgen!({
    path: "../../plugins/wit",
    world: "checking-plugin",
    imports: { default: async },
    exports: { default: async },
    with: {
        "wotp:channel/http@0.1.4": crate::since_v0_1_0::wotp::channel::http,
        "wotp:channel/host@0.1.4": crate::since_v0_1_0::wotp::channel::host,
    },
});
