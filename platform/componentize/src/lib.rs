//! Makes a component of what a compiler made for wasm32-unknown-unknown. The module says itself what the component is
//! to be, in a section that `wit-bindgen` puts there.
//!
//! Apart from what runs components, so that nobody needs that to build the guests of its tests.

use wit_component::ComponentEncoder;

/// A module that cannot be made a component.
#[derive(Debug)]
pub struct NoComponent(String);

impl std::fmt::Display for NoComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoComponent {}

/// The component of a module.
///
/// # Errors
/// [`NoComponent`], where the bytes are no module, or one that does not say what it is to be.
pub fn component_of(module: &[u8]) -> Result<Vec<u8>, NoComponent> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| NoComponent(format!("{error:#}")))
}
