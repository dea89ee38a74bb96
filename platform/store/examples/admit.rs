//! What one admission and one replace cost, at a thousand, a hundred thousand and a million stored
//! verifications, for one tenant and for ten thousand.
//!
//! `cargo run --release -p wotp-store --example admit [-- ROWS…]`
//!
//! CPU is that of all threads of this process, the caller's and the writer's, checkpoints included.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a person at a terminal")]

use std::sync::Arc;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wotp_core::domain::address_limits::AddressLimits;
use wotp_core::domain::dispatch::{DeliveryStatus, Verdict};
use wotp_core::domain::id::{DeliveryId, TenantId, VerificationId};
use wotp_core::domain::vault::AddressIndex;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{Admission, Entropy as _, NewVerification, Store};
use wotp_core::testing::builders::{a_verification, admission, entropy, noon, seconds};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

/// Callers at once.
const CALLERS: usize = 64;
/// Calls that are measured.
const MEASURED: usize = 20_000;

/// CPU time of all threads that live, in nanoseconds.
fn cpu() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

struct Source {
    templates: Vec<Verification>,
    next: usize,
}

impl Source {
    fn new(tenants: usize) -> Self {
        let one = a_verification(TenantId::new(noon(), entropy()), "+12025550123", noon());
        let templates = (0..tenants).map(|_| Verification { tenant: TenantId::new(noon(), entropy()), ..one.clone() });
        Self { templates: templates.collect(), next: 0 }
    }

    /// A new one, of the next tenant, to an address that nobody has.
    fn verification(&mut self) -> Verification {
        self.next += 1;
        let mut verification = self.templates[self.next % self.templates.len()].clone();
        // 500 a second, so that ids spread over time as they do in life.
        let at = seconds(i64::try_from(self.next / 500).unwrap());
        verification.id = VerificationId::new(at, entropy());
        let mut index = [0; 24];
        entropy().fill(&mut index);
        index[..8].copy_from_slice(&(self.next as u64 % 1000).to_be_bytes());
        verification.address.as_mut().unwrap().index = AddressIndex::from_bytes(index);
        verification
    }

    fn batch(&mut self, size: usize) -> Vec<Verification> {
        (0..size).map(|_| self.verification()).collect()
    }
}

/// Runs `call` over all of `work` from 64 callers; says what they gave.
async fn run<T, F>(
    store: &Arc<SqliteStore>,
    work: Vec<Verification>,
    call: fn(Arc<SqliteStore>, Verification) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let size = work.len().div_ceil(CALLERS);
    let mut callers = JoinSet::new();
    let mut work = work.into_iter();
    for _ in 0..CALLERS {
        let (store, mine) = (Arc::clone(store), work.by_ref().take(size).collect::<Vec<_>>());
        callers.spawn(async move {
            let mut given = Vec::with_capacity(mine.len());
            for verification in mine {
                given.push(call(Arc::clone(&store), verification).await);
            }
            given
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

async fn admit(store: Arc<SqliteStore>, verification: Verification) -> Verification {
    let new = NewVerification { address_limits: Some(AddressLimits::default()), ..admission(verification) };
    let tenant = new.verification.tenant;
    match store.tenant(tenant).admit(new).await.unwrap() {
        Admission::Admitted(verification) | Admission::Repeated(verification) => verification,
    }
}

async fn deliver(store: Arc<SqliteStore>, mut verification: Verification) -> Verification {
    let sent = Verdict::Sent { provider_id: Some("4711".to_owned()), reached: DeliveryStatus::Sent, cost: None };
    let now = verification.created_at;
    verification.settle(sent, now, || DeliveryId::new(now, entropy()));
    store.tenant(verification.tenant).replace(&mut verification, false).await.unwrap();
    verification
}

async fn approve(store: Arc<SqliteStore>, mut verification: Verification) -> Verification {
    let now = verification.created_at;
    verification.check(|_| true, now);
    store.tenant(verification.tenant).replace(&mut verification, false).await.unwrap();
    verification
}

async fn find(store: Arc<SqliteStore>, verification: Verification) -> Verification {
    store.tenant(verification.tenant).find_verification(verification.id).await.unwrap().unwrap()
}

#[derive(Default)]
struct Cost {
    calls: usize,
    cpu_ns: u64,
    elapsed_ns: u128,
}

async fn measured<T, F>(
    cost: &mut Cost,
    store: &Arc<SqliteStore>,
    work: Vec<Verification>,
    call: fn(Arc<SqliteStore>, Verification) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    cost.calls += work.len();
    let (cpu_before, started) = (cpu(), Instant::now());
    let given = run(store, work, call).await;
    cost.elapsed_ns += started.elapsed().as_nanos();
    cost.cpu_ns += cpu() - cpu_before;
    given
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    println!("tenants      rows |  admit us/s | replace us/s |   find us/s | MB on disk");
    for tenants in [1, 10_000] {
        for size in &sizes {
            // A small store grows while it is measured, so it is measured in short turns.
            let turns = if *size < 10_000 { 8 } else { 1 };
            let mut costs = [Cost::default(), Cost::default(), Cost::default()];
            let mut bytes = 0;
            for _ in 0..turns {
                let folder = TempDir::new().unwrap();
                let store = SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap();
                let store = Arc::new(store);
                let mut source = Source::new(tenants);
                let mut left = *size;
                while left > 0 {
                    let mut batch = source.batch(left.min(20_000));
                    left -= batch.len();
                    batch.iter_mut().for_each(|verification| {
                        let now = verification.created_at;
                        verification.check(|_| true, now);
                    });
                    run(&store, batch, admit).await;
                }
                let count = if turns > 1 { 2_500 } else { MEASURED };
                let fresh = source.batch(count);
                let admitted = measured(&mut costs[0], &store, fresh, admit).await;
                let delivered = measured(&mut costs[1], &store, admitted, deliver).await;
                let approved = measured(&mut costs[1], &store, delivered, approve).await;
                measured(&mut costs[2], &store, approved, find).await;
                bytes = store.stats().await.unwrap().size_bytes;
            }
            let [admit, replace, find] = costs.map(|cost| {
                let calls = cost.calls as f64;
                (cost.cpu_ns as f64 / calls / 1000.0, calls / (cost.elapsed_ns as f64 / 1e9))
            });
            println!(
                "{tenants:>7} {size:>9} | {:>5.1} {:>6.0} | {:>5.1} {:>6.0} | {:>5.1} {:>6.0} | {:>6.1}",
                admit.0,
                admit.1,
                replace.0,
                replace.1,
                find.0,
                find.1,
                bytes as f64 / 1e6
            );
        }
    }
}
