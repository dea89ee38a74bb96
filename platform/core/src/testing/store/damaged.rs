//! What every store promises of rows that are damaged. How they come to be is each store's own: its test writes them,
//! and then calls these.

use std::ops::ControlFlow;
use std::slice;
use std::sync::mpsc;

use super::ANSWERS;
use crate::domain::Timestamp;
use crate::domain::api_key::ApiKey;
use crate::ports::{Change, EntityList, EntityRow, IndexKey, Owner, Page, Store};
use crate::testing::builders::{noon, seconds};

fn shown(rows: &[EntityRow]) -> Vec<(u8, usize)> {
    rows.iter().map(|row| (row.id[0], row.doc.len())).collect()
}

/// Of three things `thing` of the platform, all under `a` of the index `tag` and with ids that begin with 1, 2 and 3,
/// the second has one field and the others are damaged: all are listed, and those have no fields.
pub async fn damaged_things_are_listed_without_fields(store: &dyn Store) {
    let all = EntityList::of(Owner::Platform);
    let by = EntityList { by: Some(IndexKey::new("tag", "a")), ..all.clone() };
    for list in [all, by] {
        let listed = store.list_entities("thing", &list).await.expect(ANSWERS);
        assert_eq!(shown(&listed), [(1, 0), (2, 1), (3, 0)]);
        let (visited, seen) = mpsc::channel();
        let visit = move |row| visited.send(row).map_or(ControlFlow::Break(()), ControlFlow::Continue);
        store.visit_entities("thing", &list, Box::new(visit)).await.expect(ANSWERS);
        assert_eq!(seen.iter().collect::<Vec<_>>(), listed);
    }
    let keys = vec![IndexKey::new("tag", "a")];
    assert_eq!(store.find_listed("thing", Owner::Platform, keys).await.expect(ANSWERS).len(), 3);
}

/// Of two things `thing` of the platform that are due, with the ids 1 and 2 repeated, the first is damaged and the
/// second has one field: both are found, and the first can be put off.
pub async fn damaged_things_that_are_due_can_be_put_off(store: &dyn Store) {
    let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(9).expect("within the calendar"));
    let due = store.due_entities("thing", now, 9).await.expect(ANSWERS);
    assert_eq!(shown(&due), [(1, 0), (2, 1)]);
    store.put_off("thing", Owner::Platform, [1; 16], now, later).await.expect(ANSWERS);
    assert_eq!(store.due_entities("thing", now, 9).await.expect(ANSWERS).len(), 1);
}

/// Of a tenant's keys all but `whole` are damaged, and over if they are anything: it is found as if it were alone.
pub async fn damaged_keys_are_passed_over(store: &dyn Store, whole: &ApiKey) {
    let door = store.tenant(whole.tenant);
    let page = Page { items: vec![whole.clone()], more: false };
    assert_eq!(door.keys(None, 1).await.expect(ANSWERS), page);
    assert_eq!(door.working_keys(noon()).await.expect(ANSWERS), slice::from_ref(whole));
    let over = ApiKey { expires_at: Some(noon()), ..whole.clone() };
    store.commit(vec![Change::ReplaceKey(Box::new(over.clone()))]).await.expect("it is there");
    let over = ApiKey { version: over.version + 1, ..over };
    assert_eq!(store.keys_over(seconds(1), 1).await.expect(ANSWERS), [over]);
}
