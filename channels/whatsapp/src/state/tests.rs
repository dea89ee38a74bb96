//! The same calls as to the client's own memory have the same outcome, and are remembered by the next process.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::InMemoryBackend;
use wacore::store::traits::{
    AppStateSyncKey, Backend, DeviceInfo, DeviceListRecord, DeviceStore as _, LidPnMappingEntry, MsgSecretEntry,
    PendingInboundKey, PendingInboundRow, SignalStore as _, TcTokenEntry,
};
use wotp_core::domain::id::{ConnectionId, DeliveryId, NodeId, VerificationId};
use wotp_core::ports::{ConnectionStates as _, Entropy as _, Item, Reference, StateRange, Store as _, TenantAccount};
use wotp_core::testing::SeededEntropy;
use wotp_core::testing::builders::{a_service, a_tenant, entropy, noon, seconds, vault};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

use super::*;

/// A store that may be closed and opened, and a connection in it.
struct Home {
    folder: TempDir,
    account: TenantAccount,
}

impl Home {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let tenant = a_tenant();
        let account = TenantAccount { tenant: tenant.id, connection: ConnectionId::from_bytes([1; 16]) };
        let home = Self { folder, account };
        home.store().create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        home
    }

    fn store(&self) -> Arc<SqliteStore> {
        let file = self.folder.path().join("wotp.db");
        Arc::new(SqliteStore::open(file, OpenOptions::default()).unwrap())
    }

    /// What the next process has of it.
    async fn open(&self) -> (Arc<SqliteStore>, State) {
        let store = self.store();
        store.recover(noon()).await.unwrap();
        let holder = NodeId::new(noon(), entropy());
        let lease = store.take_connection(self.account, holder, noon(), seconds(60)).await.unwrap().unwrap();
        let randomness = Arc::new(SeededEntropy::new(lease.fence));
        let memory = ConnectionMemory::open(Arc::clone(&store) as _, vault(), randomness, lease).await.unwrap();
        (store, State::new(Arc::new(memory)))
    }
}

/// How many calls there are.
const CALLS: u8 = 57;

fn shown(outcome: Result<impl Debug>) -> Value {
    outcome.map_or_else(|error| json!(format!("error: {error}")), |value| json!(format!("{value:?}")))
}

fn listed<T: Debug>(outcome: Result<impl IntoIterator<Item = T>>) -> Value {
    // Neither has an order.
    shown(outcome.map(|all| all.into_iter().map(|one| format!("{one:?}")).collect::<BTreeSet<_>>()))
}

fn written<T: Serialize>(outcome: Result<T>) -> Value {
    outcome.map_or_else(|error| json!(format!("error: {error}")), |value| serde_json::to_value(value).unwrap())
}

/// Makes one of the calls, about one of a few things; what came of it.
#[allow(clippy::too_many_lines, reason = "one line for each call")]
async fn call(backend: &dyn Backend, which: u8, [a, b, c]: [u8; 3]) -> Value {
    let users = ["12025550123", "12025550124", "1202555012"];
    let user = users[usize::from(a % 3)];
    let address =
        [format!("{user}@s.whatsapp.net"), format!("{user}:{}@s.whatsapp.net", b % 3)][usize::from(b % 2)].clone();
    let shared: Arc<str> = address.as_str().into();
    let other: Arc<str> = format!("{}@lid", users[usize::from(c % 3)]).into();
    let (record, id) = (vec![c; usize::from(c)], u32::from(b % 5) * 70_000);
    let name = ["regular", "critical", ""][usize::from(b % 3)];
    let (index, group) = ([a % 4; 32], format!("{}@g.us", b % 3));
    let message = format!("MID{}", c % 4);
    let moment = i64::from(c);
    let lid = |n: u8, phone: u8| LidPnMappingEntry {
        lid: format!("1000{}", n % 3),
        phone_number: users[usize::from(phone % 3)].to_owned(),
        created_at: moment,
        updated_at: i64::from(a),
        learning_source: "usync".to_owned(),
    };
    let devices = |n: u8| DeviceListRecord {
        user: users[usize::from(n % 3)].to_owned(),
        devices: vec![DeviceInfo::new(c.into(), (c > 99).then_some(7)).with_hosting(c % 2 == 0)],
        timestamp: moment,
        phash: (c > 50).then(|| "2:abc".to_owned()),
        raw_id: (c > 150).then_some(c.into()),
    };
    let secret = |n: u8| MsgSecretEntry {
        chat: Arc::clone(&shared),
        sender: Arc::clone(&other),
        msg_id: format!("MID{}", n % 3).into(),
        secret: [c; 32],
        expires_at: i64::from(n % 4) * 50,
        message_ts: i64::from(a % 4),
    };
    let row = PendingInboundRow { chat: &address, sender: &other, id: &message, message: &record };
    let key = PendingInboundKey { chat: &address, sender: &other, id: &message };
    match which {
        0 => shown(backend.put_identity(&address, [c; 32]).await),
        1 => shown(backend.put_identities_batch(&[(shared, [c; 32]), (other, [b; 32])]).await),
        2 => shown(backend.load_identity(&address).await),
        3 => shown(backend.delete_identity(&address).await),
        4 => shown(backend.get_session(&address).await),
        5 => shown(backend.put_session(&address, &record).await),
        6 => {
            let one = Bytes::from(record);
            shown(
                backend
                    .put_sessions_batch(&[(Arc::clone(&shared), Bytes::new()), (other, one.clone()), (shared, one)])
                    .await,
            )
        }
        7 => shown(backend.delete_session(&address).await),
        8 => shown(backend.has_session(&address).await),
        9 => shown(backend.has_signal_state_for_user(user).await),
        10 => shown(backend.store_prekey(id, &record, c % 2 == 0).await),
        11 => shown(backend.store_prekeys_batch(&[(id, Bytes::from(record)), (id + 1, Bytes::new())], true).await),
        12 => shown(backend.load_prekey(id).await),
        13 => listed(backend.load_prekeys_batch(&[id, id + 1, 7, id]).await),
        14 => shown(backend.mark_prekeys_uploaded(&[id, 7]).await),
        15 => shown(backend.remove_prekey(id).await),
        16 => shown(backend.get_max_prekey_id().await),
        17 => shown(backend.store_signed_prekey(id, &record).await),
        18 => shown(backend.load_signed_prekey(id).await),
        19 => listed(backend.load_all_signed_prekeys().await),
        20 => shown(backend.remove_signed_prekey(id).await),
        21 => shown(backend.put_sender_key(&address, &record).await),
        22 => shown(backend.put_sender_keys_batch(&[(shared, Bytes::from(record)), (other, Bytes::new())]).await),
        23 => shown(backend.get_sender_key(&address).await),
        24 => shown(backend.delete_sender_key(&address).await),
        25 => written(backend.get_sync_key(&[a % 3]).await),
        26 => {
            let key = AppStateSyncKey { key_data: record, fingerprint: vec![b], timestamp: moment };
            shown(backend.set_sync_key(&[a % 3], key).await)
        }
        27 => written(backend.get_version(name).await),
        28 => {
            let mut state = HashState { version: c.into(), ..HashState::default() };
            state.hash[7] = c;
            state.index_value_map.insert(message, record);
            shown(backend.set_version(name, state).await)
        }
        29 => {
            let macs = [index, [b; 32]].map(|mac| AppStateMutationMAC { index_mac: mac.to_vec(), value_mac: vec![c] });
            shown(backend.put_mutation_macs(name, c.into(), &macs).await)
        }
        30 => shown(backend.get_mutation_mac(name, &index).await),
        31 => listed(backend.get_mutation_macs(name, &[index, [b; 32], [9; 32]]).await),
        32 => shown(backend.delete_mutation_macs(name, &[index.to_vec(), vec![]]).await),
        33 => shown(backend.clear_mutation_macs(name).await),
        34 => shown(backend.get_latest_sync_key_id().await),
        35 => listed(backend.get_sender_key_devices(&group).await),
        36 => shown(backend.set_sender_key_status(&group, &[(address.as_str(), c % 2 == 0), (&*other, true)]).await),
        37 if c % 4 > 0 => shown(backend.clear_sender_key_devices(&group).await),
        37 => shown(backend.clear_all_sender_key_devices().await),
        38 => shown(backend.delete_sender_key_device_rows(&[address.as_str(), "nobody"][..usize::from(c % 3)]).await),
        39 => written(backend.get_lid_mapping(&lid(a, b).lid).await),
        40 => written(backend.get_pn_mapping(user).await),
        41 => shown(backend.put_lid_mapping(&lid(a, b)).await),
        42 => shown(backend.put_lid_mappings(&[lid(a, b), lid(b, c), lid(a, c)]).await),
        43 => {
            let all = backend.get_all_lid_mappings().await;
            listed(all.map(|all| all.into_iter().map(|one| serde_json::to_string(&one).unwrap())))
        }
        44 => match c % 3 {
            0 => shown(backend.save_base_key(&address, &message, &[b % 2]).await),
            1 => shown(backend.has_same_base_key(&address, &message, &[b % 2]).await),
            _ => shown(backend.delete_base_key(&address, &message).await),
        },
        45 if c % 2 == 0 => shown(backend.update_device_list(devices(a)).await),
        45 => shown(backend.update_device_lists(vec![devices(a), devices(b), devices(a)]).await),
        46 => written(backend.get_devices(user).await),
        47 => shown(backend.delete_devices(user).await),
        48 => match c % 3 {
            0 => shown(backend.get_group_metadata(&group).await),
            1 => shown(backend.put_group_metadata(&group, &record).await),
            _ => shown(backend.delete_group_metadata(&group).await),
        },
        49 => match c % 3 {
            0 => written(backend.get_tc_token(&address).await),
            1 => listed(backend.get_all_tc_token_jids().await),
            _ => shown(backend.delete_tc_token(&address).await),
        },
        50 => {
            let sender_timestamp = (b % 2 == 0).then_some(i64::from(b));
            let token = if a % 2 == 0 { Vec::new() } else { record };
            shown(
                backend
                    .put_tc_token(&address, &TcTokenEntry { token, token_timestamp: moment, sender_timestamp })
                    .await,
            )
        }
        51 if c % 2 == 0 => shown(backend.touch_tc_token_sender_timestamp(&address, moment).await),
        51 => shown(backend.store_received_tc_token(&address, &record, moment).await),
        52 => shown(backend.delete_expired_tc_tokens(moment, i64::from(b)).await),
        53 => match c % 8 {
            0..4 => shown(backend.store_sent_message(&address, &message, &record).await),
            4..7 => shown(backend.take_sent_message(&address, &message).await),
            _ => shown(backend.delete_expired_sent_messages(if b % 2 == 0 { i64::MAX } else { 0 }).await),
        },
        54 => match c % 8 {
            0 => shown(backend.store_pending_inbound(&address, &other, &message, &record).await),
            1 => shown(backend.store_pending_inbound_batch(&[row, PendingInboundRow { id: "", ..row }]).await),
            2..4 => shown(backend.get_pending_inbound(&address, &other, &message).await),
            4 => shown(backend.delete_pending_inbound(&address, &other, &message).await),
            5 => shown(backend.delete_pending_inbound_batch(&[key, PendingInboundKey { id: "", ..key }]).await),
            _ => shown(backend.delete_expired_pending_inbound(if b % 2 == 0 { i64::MAX } else { 0 }).await),
        },
        55 => match c % 8 {
            0..3 => shown(backend.put_msg_secrets(vec![secret(a), secret(b), secret(a.wrapping_add(1))]).await),
            3 => shown(backend.put_msg_secret(&address, &other, &message, &[b; 32]).await),
            4 => shown(backend.get_msg_secret(&address, &other, &message).await),
            5..7 => shown(backend.get_msg_secret_with_ts(&address, &other, &message).await),
            _ => shown(backend.delete_expired_msg_secrets(i64::from(a)).await),
        },
        _ => {
            if !backend.exists().await.unwrap() {
                backend.create().await.unwrap();
            }
            let mut device = backend.load().await.unwrap().unwrap();
            if c % 2 == 0 {
                // Keys are drawn by whoever makes the device.
                device = same_device();
                device.push_name = message;
                device.next_pre_key_id = c.into();
                backend.save(&device).await.unwrap();
            }
            let saved = backend.load().await.unwrap().unwrap();
            json!([
                backend.exists().await.unwrap(),
                saved.push_name,
                saved.next_pre_key_id,
                c % 2 == 0 && { serde_json::to_value(&saved).unwrap() == serde_json::to_value(&device).unwrap() }
            ])
        }
    }
}

fn same_device() -> wacore::store::Device {
    wacore::store::Device::new()
}

/// What each call says about each thing, where it changes nothing.
async fn everything(backend: &dyn Backend) -> Vec<Value> {
    let reads = [2, 4, 8, 9, 12, 13, 16, 18, 19, 23, 25, 27, 30, 31, 34, 35, 39, 40, 43, 46];
    let mut seen = Vec::new();
    for a in 0..4 {
        for b in 0..6 {
            for which in reads {
                seen.push(call(backend, which, [a, b, 0]).await);
            }
            // Of those that read for some numbers only.
            for (which, cs) in [(44, &[1_u8][..]), (48, &[0]), (49, &[0, 1]), (54, &[2, 3]), (55, &[4, 5, 6, 12, 13])] {
                for c in cs {
                    seen.push(call(backend, which, [a, b, *c]).await);
                }
            }
        }
    }
    let device = backend.load().await.unwrap().map(|device| serde_json::to_value(&device).unwrap());
    seen.push(json!(device.map(|device| (device["push_name"].clone(), device["next_pre_key_id"].clone()))));
    seen
}

#[tokio::test]
async fn each_call_has_the_outcome_that_it_has_in_memory_and_the_next_process_remembers_it() {
    for seed in 1..=4 {
        let home = Home::new().await;
        let (mut store, mut state) = home.open().await;
        let memory = InMemoryBackend::new();
        let dice = SeededEntropy::new(seed);
        let mut made = BTreeSet::new();
        for round in 0..3 {
            for turn in 0..400_u32 {
                let mut drawn = [0; 4];
                dice.fill(&mut drawn);
                let [which, about @ ..] = drawn;
                // Each at least once, and then as they come.
                let which = u8::try_from(turn).ok().filter(|turn| *turn < CALLS).unwrap_or(which % CALLS);
                made.insert(which);
                let expected = call(&memory, which, about).await;
                let outcome = call(&state, which, about).await;
                assert_eq!(outcome, expected, "seed {seed}, round {round}, turn {turn}: call {which} about {about:?}");
            }
            let expected = everything(&memory).await;
            assert_eq!(everything(&state).await, expected);
            drop((state, store));
            (store, state) = home.open().await;
            assert_eq!(everything(&state).await, expected, "after it was opened again");
        }
        assert_eq!(made.len(), usize::from(CALLS));
        drop(store);
    }
}

#[tokio::test]
async fn nothing_that_is_stored_tells_whom_it_is_about() {
    let home = Home::new().await;
    let (store, state) = home.open().await;
    for which in [0, 5, 10, 17, 21, 26, 28, 29, 36, 41, 44, 45, 48, 50, 53, 54, 55, 56] {
        for c in 0..2 {
            call(&state, which, [0, 0, c]).await;
        }
    }
    state.write_notes([("12025550123", &b"12025550123"[..])]).await.unwrap();
    let reference = a_reference(home.account);
    state.remember_sent(&[("3EB0346C1560879903877D".to_owned(), reference)], 7).await.unwrap();
    let rows = store.list_state(home.account, StateRange::All, None, 10_000).await.unwrap();
    let kinds: BTreeSet<u8> = rows.iter().map(|row| row.key.kind).collect();
    assert_eq!(kinds, (1..=22).collect(), "something of each kind");
    for row in rows {
        let stored = [&row.key.to_bytes()[..], &row.value].concat();
        for secret in [&b"1202555"[..], b"whatsapp", b"@lid"] {
            assert!(!stored.windows(secret.len()).any(|part| part == secret), "kind {}", row.key.kind);
        }
    }
}

#[tokio::test]
async fn once_another_node_keeps_the_connection_nothing_is_written_and_that_is_an_error() {
    let home = Home::new().await;
    let (store, state) = home.open().await;
    state.put_session("12025550123@s.whatsapp.net", b"mine").await.unwrap();
    let other = NodeId::new(noon(), entropy());
    let lease = state.memory.lease().clone();
    store.hand_over_connection(&lease, other, seconds(1), seconds(9)).await.unwrap().unwrap();
    let before = store.list_state(home.account, StateRange::All, None, 10_000).await.unwrap();
    let late = state.put_sessions_batch(&[("12025550123@s.whatsapp.net".into(), Bytes::from_static(b"late"))]).await;
    assert!(matches!(late, Err(StoreError::Database(_))), "{late:?}");
    assert!(state.memory.is_lost());
    for which in 0..CALLS - 1 {
        // Some of these read, and are answered.
        call(&state, which, [0, 1, 2]).await;
    }
    assert!(state.save(&same_device()).await.is_err());
    assert_eq!(store.list_state(home.account, StateRange::All, None, 10_000).await.unwrap(), before);
}

#[tokio::test]
async fn notes_are_remembered_beside_what_the_client_keeps() {
    let home = Home::new().await;
    let (store, state) = home.open().await;
    assert_eq!(state.read_note("budget").await.unwrap(), None);
    state.write_notes([("budget", &b"one"[..]), ("other", b"three")]).await.unwrap();
    state.write_notes([("budget", &b"two"[..])]).await.unwrap();
    drop((state, store));
    let (_store, state) = home.open().await;
    assert_eq!(state.read_note("budget").await.unwrap().as_deref(), Some(&b"two"[..]));
}

fn a_reference(of: TenantAccount) -> Reference {
    let item = Item::Verification(VerificationId::from_bytes([2; 16]));
    Reference { tenant: of.tenant, item, delivery: DeliveryId::from_bytes([3; 16]) }
}

#[tokio::test]
async fn what_was_sent_is_known_to_the_next_process_until_it_is_too_old() {
    let home = Home::new().await;
    let (store, state) = home.open().await;
    let (old, new) = ("A".to_owned(), "B".to_owned());
    let reference = a_reference(home.account);
    state.remember_sent(&[(old.clone(), reference)], 100).await.unwrap();
    state.remember_sent(&[(new.clone(), reference)], 200).await.unwrap();
    assert_eq!(state.find_sent("C").await.unwrap(), None);
    drop((state, store));
    let (_store, state) = home.open().await;
    assert_eq!(state.find_sent(&old).await.unwrap(), Some(reference));
    state.forget_sent(200).await.unwrap();
    assert_eq!(state.find_sent(&old).await.unwrap(), None);
    assert_eq!(state.find_sent(&new).await.unwrap(), Some(reference));
}

#[tokio::test]
async fn a_device_that_is_not_saved_three_times_in_a_row_is_told_of() {
    let home = Home::new().await;
    let (store, state) = home.open().await;
    store
        .hand_over_connection(state.memory.lease(), NodeId::new(noon(), entropy()), seconds(1), seconds(9))
        .await
        .unwrap();
    for times in 1..=3 {
        assert!(timeout(Duration::ZERO, state.fails()).await.is_err(), "{times}");
        assert!(state.save(&same_device()).await.is_err());
    }
    assert!(timeout(Duration::ZERO, state.fails()).await.is_ok());
}
