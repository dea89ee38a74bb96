//! What is true of a verification, whatever stores or carries it.

pub mod domain;
