//! Real servers for tests: MongoDB, Redis and an issuer of OpenID Connect, on loopback, each in a folder of its own, gone when
//! dropped and when the test dies.
//!
//! A server that is not installed fails the test that asks for it. It is never skipped.

#![allow(clippy::disallowed_methods, reason = "servers run on the machine's time")]

mod greeter;
mod mongo;
mod oidc_issuer;
mod process;
mod redis;
mod redis_sets;
mod wire;

pub use greeter::Greeter;
pub use mongo::{MongoDatabase, Mongod, ReplicaSet, mongo_url};
/// What commands to MongoDB are written in.
pub use mongodb::bson;
pub use oidc_issuer::{CameBack, OidcIssuer};
pub use process::free_port;
pub use redis::{Redis, redis_url};
pub use redis_sets::{RedisCluster, Sentinels};
pub use wire::Wire;
