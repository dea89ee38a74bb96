//! What came to the contract with 0.1.2, of which `wit/0.1.2` is a copy: how a message fares, where the provider has to be asked, and whether somebody can
//! be reached. Everything else is as it was, whose types these are.

/// What is asked of a provider.
pub(crate) mod asking {
    wasmtime::component::bindgen!({
        path: "wit/0.1.2",
        world: "asking-plugin",
        imports: { default: async },
        exports: { default: async },
        with: {
            "wotp:channel/types@0.1.2": crate::since_v0_1_0::wotp::channel::types,
            "wotp:channel/http@0.1.2": crate::since_v0_1_0::wotp::channel::http,
            "wotp:channel/host@0.1.2": crate::since_v0_1_0::wotp::channel::host,
            "wotp:channel/receipts@0.1.2": crate::since_v0_1_1::wotp::channel::receipts,
        },
    });
}

/// What is asked beforehand.
pub(crate) mod probing {
    wasmtime::component::bindgen!({
        path: "wit/0.1.2",
        world: "probing-plugin",
        imports: { default: async },
        exports: { default: async },
        with: {
            "wotp:channel/types@0.1.2": crate::since_v0_1_0::wotp::channel::types,
            "wotp:channel/http@0.1.2": crate::since_v0_1_0::wotp::channel::http,
            "wotp:channel/host@0.1.2": crate::since_v0_1_0::wotp::channel::host,
        },
    });
}
