//! What people's accounts need of the machine: slow hashes, and signatures.

mod passwords;
mod tokens;

pub use passwords::{Argon2Passwords, HashSettings};
pub use tokens::EddsaTokens;
