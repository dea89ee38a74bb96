//! Starts the servers that all tests of a run share, says where they are, and stops them when its
//! standard input ends: when whoever started it is done, or dead.

use std::io::{Read as _, Write as _};

use wotp_test_servers::{Redis, ReplicaSet};

fn main() -> std::io::Result<()> {
    let (mongo, redis) = (ReplicaSet::start(1), Redis::start());
    let mut out = std::io::stdout();
    writeln!(out, "TEST_MONGODB_URL={}", mongo.url(""))?;
    writeln!(out, "TEST_REDIS_URL={}", redis.url())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
