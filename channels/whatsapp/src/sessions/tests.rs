//! What is done for wishes, where nobody reaches WhatsApp: whether a session begins is seen by whether its keys are read.

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::Notify;
use wotp_core::app::{ConnectionMemory, MemoryError, OtherwiseWanted, Wanted, WantedConnect};
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::ConnectionId;
use wotp_core::domain::live_connection::Standing;
use wotp_core::ports::{Clock as _, ConnectionStates as _, Store as _};
use wotp_core::testing::builders::{a_service, a_tenant, vault};
use wotp_core::testing::{ManualClock, SeededEntropy};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

use super::follow::is_asked_since;
use super::*;
use crate::keys::Keys;
use crate::leases::{Leases, Tenure, account, session};
use crate::listen::{Incoming, Listen, NotTaken, Reported};
use crate::settings::Settings;
use crate::status::Status;
use crate::wishes::Wishes;

/// What several processes share, and what they read of it.
struct World {
    _folder: TempDir,
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    tenant: TenantId,
    wanted: Mutex<BTreeMap<SessionId, Wanted>>,
    standings: Mutex<BTreeMap<SessionId, Standing>>,
    changed: Notify,
    /// Those of which something else is wanted, as whoever waits is told.
    otherwise: Mutex<Vec<SessionId>>,
    reads_of_all: AtomicUsize,
    reads_of_one: AtomicUsize,
    /// Sessions whose keys were read.
    begun: Mutex<Vec<SessionId>>,
}

impl World {
    async fn new() -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap());
        let tenant = a_tenant();
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        Arc::new(Self {
            _folder: folder,
            store,
            clock: Arc::new(ManualClock::at("2026-03-01T12:00:00Z")),
            tenant: tenant.id,
            wanted: Mutex::default(),
            standings: Mutex::default(),
            changed: Notify::new(),
            otherwise: Mutex::default(),
            reads_of_all: AtomicUsize::new(0),
            reads_of_one: AtomicUsize::new(0),
            begun: Mutex::default(),
        })
    }

    fn id(&self, nth: u8) -> SessionId {
        SessionId { tenant: self.tenant, connection: ConnectionId::from_bytes([nth; 16]) }
    }

    /// What a process keeps that looks by itself once, when it begins.
    fn process(self: &Arc<Self>, nth: u8) -> Arc<Sessions> {
        let hour = Duration::from_hours(1);
        let tenure = Tenure { prolonged: hour, every: hour, looks: hour, ..Tenure::default() };
        let node = NodeId::from_bytes([nth; 16]);
        let leases = Leases::new(Arc::clone(&self.store) as _, Arc::clone(&self.clock) as _, node, tenure);
        let mut settings = Settings::new((2, 3000, 1), "Codes");
        settings.url = "wss:nowhere".to_owned();
        let (clock, entropy) = (Arc::clone(&self.clock) as _, Arc::new(SeededEntropy::new(7)));
        let (keys, listener, wishes) = (Arc::clone(self) as _, Arc::clone(self) as _, Arc::clone(self) as _);
        Sessions::new(Parts::new(settings, clock, entropy, keys, listener, leases, wishes))
    }

    /// A call has a session connect now, or not any more.
    fn wants(&self, id: SessionId, connect: bool) -> Wanted {
        let wanted = Wanted::Connect(WantedConnect { asked_at: Some(self.clock.now()), code_for: None });
        match connect {
            true => self.wanted.lock().unwrap().insert(id, wanted.clone()),
            false => self.wanted.lock().unwrap().remove(&id),
        };
        self.otherwise.lock().unwrap().push(id);
        self.changed.notify_one();
        wanted
    }

    /// A call deletes a session.
    fn leaves(&self, id: SessionId) {
        self.wanted.lock().unwrap().insert(id, Wanted::Leave);
        self.otherwise.lock().unwrap().push(id);
        self.changed.notify_one();
    }

    fn reads(&self) -> (usize, usize) {
        (self.reads_of_all.load(Ordering::SeqCst), self.reads_of_one.load(Ordering::SeqCst))
    }

    fn begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }

    async fn holder(&self, id: SessionId) -> Option<NodeId> {
        let lease = self.store.find_connection_lease(account(id)).await.unwrap();
        lease.filter(|lease| lease.is_in_force(self.clock.now())).map(|lease| lease.holder)
    }
}

#[async_trait]
impl Wishes for World {
    async fn all(&self) -> Result<Vec<(SessionId, Wanted)>, StoreError> {
        self.reads_of_all.fetch_add(1, Ordering::SeqCst);
        Ok(self.wanted.lock().unwrap().clone().into_iter().collect())
    }

    async fn find(&self, session: SessionId) -> Result<Option<Wanted>, StoreError> {
        self.reads_of_one.fetch_add(1, Ordering::SeqCst);
        Ok(self.wanted.lock().unwrap().get(&session).cloned())
    }

    async fn changed(&self) -> OtherwiseWanted {
        self.changed.notified().await;
        let changed = std::mem::take(&mut *self.otherwise.lock().unwrap());
        OtherwiseWanted::Of(changed.into_iter().map(account).collect())
    }

    async fn replaced_at(&self, session: SessionId) -> Result<Option<Timestamp>, StoreError> {
        let standings = self.standings.lock().unwrap();
        let replaced = standings.get(&session).filter(|standing| standing.status.as_str() == "replaced");
        Ok(replaced.map(|standing| standing.since))
    }

    async fn left(&self, session: SessionId) -> Result<(), StoreError> {
        self.wanted.lock().unwrap().remove(&session);
        Ok(())
    }
}

#[async_trait]
impl Keys for World {
    async fn open(&self, lease: &ConnectionLease) -> Result<ConnectionMemory, MemoryError> {
        self.begun.lock().unwrap().push(session(lease.of));
        let entropy = Arc::new(SeededEntropy::new(lease.fence));
        ConnectionMemory::open(Arc::clone(&self.store) as _, vault(), entropy, lease.clone()).await
    }
}

#[async_trait]
impl Listen for World {
    async fn reported(&self, _: SessionId, _: Reported) {}

    async fn stands(&self, lease: &ConnectionLease, standing: &Standing) -> Result<(), NotTaken> {
        self.standings.lock().unwrap().insert(session(lease.of), standing.clone());
        Ok(())
    }

    async fn incoming(&self, _: SessionId, _: &Incoming) -> Result<Option<String>, NotTaken> {
        Ok(None)
    }
}

/// Yields until it is so.
async fn comes(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Waits until a session is kept, and nothing is being done for it any more.
async fn kept(sessions: &Sessions, id: SessionId) {
    comes("it is kept", async || sessions.find(id).is_some() && sessions.table().followed.is_empty()).await;
}

/// One that was replaced some seconds after somebody had it connect, and whose process is gone.
async fn replaced(world: &Arc<World>) -> (SessionId, Wanted) {
    let first = world.process(1);
    let replaced = replaced_by(world, &first).await;
    first.drain().await;
    world.begun.lock().unwrap().clear();
    replaced
}

/// One that was replaced some seconds after somebody had it connect.
async fn replaced_by(world: &World, process: &Sessions) -> (SessionId, Wanted) {
    let id = world.id(1);
    let wanted = world.wants(id, true);
    kept(process, id).await;
    world.clock.advance(SignedDuration::from_secs(5));
    let session = process.find(id).unwrap();
    session.stop().await;
    session.stays_replaced(world.clock.now()).await;
    world.begun.lock().unwrap().clear();
    (id, wanted)
}

#[tokio::test]
async fn what_was_replaced_stays_so_with_whoever_keeps_it_next_until_somebody_has_it_connect() {
    let world = World::new().await;
    let (id, wanted) = replaced(&world).await;
    // Also where somebody had it connect so lately that a QR would be shown.
    let second = world.process(2);
    kept(&second, id).await;
    second.follow(id, &wanted).await.unwrap();
    assert_eq!((world.begun(), second.find(id).unwrap().status().name()), (0, "replaced"));
    assert_eq!(world.standings.lock().unwrap()[&id].status.as_str(), "replaced");
    second.drain().await;
    // Or it would hear the call below.
    drop(second);

    let third = world.process(3);
    kept(&third, id).await;
    assert_eq!((world.begun(), third.find(id).unwrap().status().name()), (0, "replaced"));
    world.clock.advance(SignedDuration::from_secs(1));
    world.wants(id, true);
    comes("it logs in", async || world.begun() == 1).await;
    third.drain().await;
}

#[tokio::test]
async fn whoever_takes_it_after_somebody_had_it_connect_again_logs_in() {
    let world = World::new().await;
    let (id, _) = replaced(&world).await;
    world.clock.advance(SignedDuration::from_secs(1));
    let wanted = world.wants(id, true);
    let second = world.process(2);
    second.follow(id, &wanted).await.unwrap();
    assert!(world.begun() > 0);
    assert!(!matches!(second.find(id).unwrap().status(), Status::Replaced { .. }));
    second.drain().await;
}

#[tokio::test]
async fn a_session_of_which_something_else_is_wanted_is_followed_without_reading_what_is_of_others() {
    let world = World::new().await;
    let process = world.process(1);
    comes("it has looked", async || world.reads().0 == 1).await;
    for nth in 1..=3 {
        let id = world.id(nth);
        world.wants(id, true);
        kept(&process, id).await;
    }
    let id = world.id(2);
    world.wants(id, false);
    comes("it is let go", async || world.holder(id).await.is_none()).await;
    let (of_all, of_one) = world.reads();
    assert_eq!(of_all, 1);
    assert!(of_one >= 4, "{of_one}");
    assert!(process.find(world.id(1)).is_some() && process.find(world.id(3)).is_some());
    process.drain().await;
}

#[tokio::test]
async fn a_session_whose_tenant_another_process_keeps_is_left_to_that_one() {
    let world = World::new().await;
    let first = world.process(1);
    comes("it has looked", async || world.reads().0 == 1).await;
    let one = world.wants(world.id(1), true);
    first.follow(world.id(1), &one).await.unwrap();
    let second = world.process(2);
    comes("it has looked", async || second.kept_by_another(world.tenant, None).is_some()).await;
    world.wanted.lock().unwrap().insert(world.id(2), one);
    // As a call to the second does.
    second.follow_wish(world.id(2)).await.unwrap();
    assert_eq!((world.holder(world.id(2)).await, second.len()), (None, 0));
    first.follow_wish(world.id(2)).await.unwrap();
    comes("it is kept with the other", async || world.holder(world.id(2)).await == world.holder(world.id(1)).await)
        .await;
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn whoever_is_told_of_everything_looks_at_it_soon_again_only_while_something_is_to_be_done() {
    let world = World::new().await;
    let process = world.process(1);
    comes("it has looked", async || world.reads().0 == 1).await;
    assert!(process.follow_wishes().await.unwrap());
    let id = world.id(1);
    world.wants(id, true);
    kept(&process, id).await;
    assert!(process.follow_wishes().await.unwrap());
    // As if the call had not been heard of.
    let wanted = WantedConnect { asked_at: Some(world.clock.now()), code_for: None };
    world.wanted.lock().unwrap().insert(world.id(2), Wanted::Connect(wanted));
    assert!(!process.follow_wishes().await.unwrap());
    kept(&process, world.id(2)).await;
    world.wanted.lock().unwrap().clear();
    assert!(!process.follow_wishes().await.unwrap(), "two of which nothing is wanted any more");
    process.drain().await;

    let rests = |tenure: Tenure, done| {
        let (store, clock) = (Arc::clone(&world.store) as _, Arc::clone(&world.clock) as _);
        Leases::new(store, clock, NodeId::from_bytes([1; 16]), tenure).rests(done).as_secs()
    };
    assert_eq!((rests(Tenure::alone(), true), rests(Tenure::alone(), false)), (10, 2));
    assert_eq!(rests(Tenure::default(), true), 2, "others write what is wanted, and are not heard");
}

/// Who has the first four sessions.
async fn holders(world: &World) -> BTreeSet<Option<NodeId>> {
    let mut holders = BTreeSet::new();
    for nth in 1..=4 {
        holders.insert(world.holder(world.id(nth)).await);
    }
    holders
}

fn node(nth: u8) -> Option<NodeId> {
    Some(NodeId::from_bytes([nth; 16]))
}

#[tokio::test]
async fn of_two_processes_that_see_all_of_a_tenants_free_one_gets_them_all() {
    let world = World::new().await;
    let first = world.process(1);
    for nth in 1..=4 {
        world.wants(world.id(nth), true);
        kept(&first, world.id(nth)).await;
    }
    // These look while all are the first's, which dies and gives nothing back.
    let (second, third) = (world.process(2), world.process(3));
    comes("both have looked", async || {
        [&second, &third].iter().all(|process| process.kept_by_another(world.tenant, None).is_some())
    })
    .await;
    drop(first);
    world.clock.advance(SignedDuration::from_secs(10));
    // Each is the faster with some of them: the second with the anchor.
    let (second_waits, third_waits) =
        ((second.turn(world.id(3)).await, second.turn(world.id(4)).await), third.turn(world.id(1)).await);
    assert!(!second.follow_wishes().await.unwrap() && !third.follow_wishes().await.unwrap());
    comes("the second has the anchor", async || world.holder(world.id(1)).await == node(2)).await;
    comes("and what goes with it", async || world.holder(world.id(2)).await == node(2)).await;
    assert!(third.is_empty());
    drop((second_waits, third_waits));
    comes("one has all", async || holders(&world).await == BTreeSet::from([node(2)])).await;
    comes("nothing is being done", async || third.table().followed.is_empty()).await;
    assert_eq!((second.len(), third.len()), (4, 0));
    second.drain().await;
    third.drain().await;
}

#[tokio::test]
async fn what_two_processes_have_of_a_tenant_goes_to_the_one_with_the_anchor_at_the_second_look() {
    let world = World::new().await;
    let (first, second) = (world.process(1), world.process(2));
    comes("both have looked", async || world.reads().0 == 2).await;
    let wanted = Wanted::Connect(WantedConnect { asked_at: Some(world.clock.now()), code_for: None });
    for (nth, process) in [(1, &second), (2, &first), (3, &first), (4, &second)] {
        world.wanted.lock().unwrap().insert(world.id(nth), wanted.clone());
        process.follow(world.id(nth), &wanted).await.unwrap();
    }
    // Somebody is about to scan what the third shows, and nobody what the second does.
    let [second_shows, third_shows] = [2, 3].map(|nth| first.find(world.id(nth)).unwrap());
    assert_eq!([&second_shows, &third_shows].map(|session| session.status().name()), ["pairing"; 2]);
    second_shows.stop().await;
    first.follow_wishes().await.unwrap();
    second.follow_wishes().await.unwrap();
    assert_eq!((first.len(), second.len()), (2, 2), "it may be so for a moment only");
    assert!(!first.follow_wishes().await.unwrap());
    comes("it is let go", async || world.holder(world.id(2)).await.is_none()).await;
    first.follow_wishes().await.unwrap();
    second.follow_wishes().await.unwrap();
    comes("it is with the anchor", async || world.holder(world.id(2)).await == node(2)).await;
    assert_eq!(world.holder(world.id(3)).await, node(1));
    third_shows.stop().await;
    comes("all are", async || {
        first.follow_wishes().await.unwrap();
        second.follow_wishes().await.unwrap();
        holders(&world).await == BTreeSet::from([node(2)])
    })
    .await;
    // And there they stay.
    comes("nothing is being done", async || second.table().followed.is_empty()).await;
    assert!(second.follow_wishes().await.unwrap());
    assert_eq!((first.len(), second.len()), (0, 4));
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn a_delivery_goes_to_whoever_has_another_number_while_none_that_is_here_is_connected() {
    let world = World::new().await;
    let (first, second) = (world.process(1), world.process(2));
    comes("both have looked", async || world.reads().0 == 2).await;
    let wanted = Wanted::Connect(WantedConnect { asked_at: Some(world.clock.now()), code_for: None });
    for (nth, process) in [(1, &first), (2, &second)] {
        world.wanted.lock().unwrap().insert(world.id(nth), wanted.clone());
        process.follow(world.id(nth), &wanted).await.unwrap();
    }
    second.follow_wishes().await.unwrap();
    assert_eq!(second.kept_by_another(world.tenant, None), node(1));
    assert_eq!(second.kept_by_another(world.tenant, Some(world.id(2).connection)), None);
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn sessions_that_take_their_time_to_leave_hold_up_nobody() {
    let world = World::new().await;
    let process = world.process(1);
    comes("it has looked", async || world.reads().0 == 1).await;
    let count = u8::try_from(AT_ONCE).unwrap();
    let mut turns = Vec::new();
    for nth in 1..=count {
        turns.push(process.turn(world.id(nth)).await);
        world.leaves(world.id(nth));
    }
    comes("all are under way", async || process.leaving.available_permits() == 0).await;
    let id = world.id(count + 1);
    world.wants(id, true);
    comes("another is kept", async || process.find(id).is_some() && !process.table().followed.contains(&id)).await;
    world.wants(id, false);
    comes("and let go", async || world.holder(id).await.is_none()).await;
    drop(turns);
    comes("they are gone", async || world.wanted.lock().unwrap().is_empty()).await;
    process.drain().await;
}

#[tokio::test]
async fn a_session_that_was_cut_off_is_taken_again_at_once_where_no_other_process_has_it() {
    let world = World::new().await;
    let process = world.process(1);
    let id = world.id(1);
    world.wants(id, true);
    kept(&process, id).await;
    let fence = async || world.store.find_connection_lease(account(id)).await.unwrap().unwrap().fence;
    let before = fence().await;
    // It looks again by itself in an hour.
    process.table().held[&id].right.end();
    comes("it is taken again", async || process.find(id).is_some()).await;
    assert!(fence().await > before);
    process.drain().await;
}

#[tokio::test]
async fn a_session_that_is_being_cut_off_counts_as_one_that_is_to_be_had() {
    let world = World::new().await;
    let process = world.process(1);
    let id = world.id(1);
    world.wants(id, true);
    kept(&process, id).await;
    assert!(process.follow_wishes().await.unwrap());
    // Nobody has cut it off yet.
    process.table().held[&id].watch.abort();
    process.table().held[&id].right.end();
    assert!(!process.follow_wishes().await.unwrap());
    kept(&process, id).await;
    process.drain().await;
}

#[tokio::test]
async fn what_was_asked_for_while_the_clock_ran_ahead_is_no_later_than_what_is_asked_for_now() {
    let ahead = SignedDuration::from_hours(2);
    let world = World::new().await;
    let process = world.process(1);
    comes("it has looked", async || world.reads().0 == 1).await;
    world.clock.advance(ahead);
    let (id, _) = replaced_by(&world, &process).await;
    world.clock.advance(-ahead);
    world.wants(id, true);
    comes("it logs in", async || world.begun() == 1).await;
    assert!(process.follow_wishes().await.unwrap());
    process.drain().await;
}

#[tokio::test]
async fn what_was_replaced_while_the_clock_ran_ahead_connects_when_somebody_has_it_connect_now() {
    let ahead = SignedDuration::from_hours(2);
    for taken_in_between in [true, false] {
        let world = World::new().await;
        let first = world.process(1);
        world.clock.advance(ahead);
        let (id, _) = replaced_by(&world, &first).await;
        world.clock.advance(-ahead);
        first.drain().await;
        drop(first);
        if taken_in_between {
            // Nobody has.
            let second = world.process(2);
            kept(&second, id).await;
            assert_eq!((world.begun(), second.find(id).unwrap().status().name()), (0, "replaced"));
            second.drain().await;
        }
        world.clock.advance(SignedDuration::from_secs(1));
        world.wants(id, true);
        let third = world.process(3);
        kept(&third, id).await;
        assert!(world.begun() > 0, "{taken_in_between}");
        third.drain().await;
    }
}

#[test]
fn what_was_followed_is_outdone_by_what_was_asked_later_and_where_it_lies_ahead_by_anything_else() {
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let since = |followed, asked_at| is_asked_since(followed, asked_at, Timestamp::from_second(100).unwrap());
    assert_eq!([since(None, at(1)), since(at(1), at(2)), since(at(1), at(200))], [true; 3]);
    assert_eq!([since(at(2), at(2)), since(at(2), at(1)), since(at(2), None), since(None, None)], [false; 4]);
    assert_eq!([since(at(200), at(99)), since(at(200), at(150)), since(at(200), at(200))], [true, true, false]);
}
