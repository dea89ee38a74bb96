//! Every promise of every port, on each implementation.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

use std::sync::Arc;

use tempfile::TempDir;
use wotp_core::ports::{Limiter, Store};
use wotp_store::limiter::MemoryLimiter;
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_store::sqlite::{OpenOptions, SqliteStore};
use wotp_test_servers::MongoDatabase;

mod sqlite {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, TempDir) {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap();
        (Arc::new(store), folder)
    }

    wotp_core::store_contract!(fresh);
    wotp_core::lone_store_contract!(fresh);
}

mod mongodb {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, MongoDatabase) {
        let database = MongoDatabase::fresh();
        let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
        (Arc::new(store), database)
    }

    wotp_core::store_contract!(fresh);
}

mod memory_limiter {
    use super::*;

    async fn fresh() -> (Arc<dyn Limiter>, ()) {
        (Arc::new(MemoryLimiter::new()), ())
    }

    wotp_core::limiter_contract!(fresh);
}
