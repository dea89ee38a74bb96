//! What came to the contract with 0.1.1, of which `wit/0.1.1` is a copy: what providers tell later. Everything else is
//! as in 0.1.0, whose types these are, so that there is one host for both.

wasmtime::component::bindgen!({
    path: "wit/0.1.1",
    world: "hearing-plugin",
    imports: { default: async },
    exports: { default: async },
    with: {
        "wotp:channel/http@0.1.1": crate::since_v0_1_0::wotp::channel::http,
        "wotp:channel/host@0.1.1": crate::since_v0_1_0::wotp::channel::host,
    },
});
