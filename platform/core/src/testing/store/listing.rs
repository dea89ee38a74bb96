//! Listings and counts.

use super::{ANSWERS, Subject, TO, new_tenant, started};
use crate::domain::id::{ServiceId, TenantId, VerificationId};
use crate::domain::mode::Mode;
use crate::domain::verification::{Status, Verification};
use crate::ports::{Filter, Page};
use crate::testing::builders::{a_verification, seconds};

async fn list(store: &Subject, tenant: TenantId, filter: &Filter) -> Vec<VerificationId> {
    let page = store.tenant(tenant).verifications(filter, None, 100).await.expect(ANSWERS);
    assert!(!page.more);
    page.items.iter().map(|verification| verification.id).collect()
}

async fn start_many(store: &Subject, tenant: TenantId, seconds_after_noon: std::ops::Range<i64>) -> Vec<Verification> {
    let mut all = Vec::new();
    for second in seconds_after_noon {
        all.push(started(store, a_verification(tenant, TO, seconds(second))).await);
    }
    all.sort_by_key(|verification| std::cmp::Reverse(verification.id));
    all
}

/// Whole ones, and whether there are more.
pub async fn a_listing_shows_the_newest_first(store: Subject) {
    let tenant = new_tenant();
    let empty = store.tenant(tenant).verifications(&Filter::default(), None, 10).await.expect(ANSWERS);
    assert_eq!(empty, Page { items: vec![], more: false });
    let all = start_many(&store, tenant, 0..5).await;
    let page = store.tenant(tenant).verifications(&Filter::default(), None, 3).await.expect(ANSWERS);
    assert_eq!(page, Page { items: all[..3].to_vec(), more: true });
    let page = store.tenant(tenant).verifications(&Filter::default(), None, 5).await.expect(ANSWERS);
    assert_eq!(page, Page { items: all, more: false });
}

/// New ones appear before the first page, never between two.
pub async fn pages_follow_each_other_without_gap_or_repeat_while_more_is_started(store: Subject) {
    let tenant = new_tenant();
    let all = start_many(&store, tenant, 0..10).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.tenant(tenant).verifications(&Filter::default(), after, 3).await.expect(ANSWERS);
        after = page.items.last().map(|verification| verification.id);
        seen.extend(page.items);
        if !page.more {
            break;
        }
        started(&store, a_verification(tenant, TO, seconds(100))).await;
    }
    assert_eq!(seen, all);
}

/// A cursor is a place, not a row.
pub async fn a_cursor_whose_verification_was_deleted_goes_on(store: Subject) {
    let tenant = new_tenant();
    let all = start_many(&store, tenant, 0..4).await;
    store.tenant(tenant).delete_verification(all[1].id).await.expect(ANSWERS);
    let page = store.tenant(tenant).verifications(&Filter::default(), Some(all[1].id), 10).await.expect(ANSWERS);
    assert_eq!(page.items, all[2..]);
}

/// Each filter by itself, and all together.
pub async fn filters_show_what_holds_all_of_them(store: Subject) {
    let tenant = new_tenant();
    let service = ServiceId::from_bytes([5; 16]);
    let mut one = a_verification(tenant, "+447700900123", seconds(10));
    one.mode = Mode::Test;
    one.service = service;
    one.dispatch.deliveries[0].channel = "email".to_owned();
    one.metadata = [("order".to_owned(), "47\"11".to_owned()), ("shop".to_owned(), "x".to_owned())].into();
    let mut other = a_verification(tenant, TO, seconds(20));
    other.metadata =
        [("order".to_owned(), "4712".to_owned()), ("note".to_owned(), "\"order\":\"4711\"".to_owned())].into();
    let one = started(&store, one).await;
    let mut other = started(&store, other).await;
    other.cancel(seconds(25));
    store.tenant(tenant).replace(&mut other, false).await.expect(ANSWERS);

    let metadata = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let all = Filter {
        mode: Some(Mode::Test),
        service: Some(service),
        status: Some(Status::Pending),
        channel: Some("email".to_owned()),
        address: one.address.as_ref().map(|address| address.index),
        created_from: Some(seconds(10)),
        created_before: Some(seconds(11)),
        metadata: metadata(&[("order", "47\"11"), ("shop", "x")]),
    };
    let none = Filter::default;
    let only_one = [
        all.clone(),
        Filter { mode: all.mode, ..none() },
        Filter { service: all.service, ..none() },
        Filter { status: all.status, ..none() },
        Filter { channel: all.channel.clone(), ..none() },
        Filter { address: all.address, ..none() },
        Filter { created_before: all.created_before, ..none() },
        Filter { metadata: all.metadata.clone(), ..none() },
    ];
    for filter in only_one {
        assert_eq!(list(&store, tenant, &filter).await, [one.id], "{filter:?}");
    }
    let only_other = [
        Filter { status: Some(Status::Canceled), ..none() },
        Filter { created_from: Some(seconds(20)), ..none() },
        Filter { mode: Some(Mode::Live), channel: Some("console".to_owned()), ..none() },
        Filter { metadata: metadata(&[("order", "4712")]), ..none() },
    ];
    for filter in only_other {
        assert_eq!(list(&store, tenant, &filter).await, [other.id], "{filter:?}");
    }
    let nothing = [
        Filter { created_before: Some(seconds(10)), ..none() },
        Filter { created_from: Some(seconds(21)), ..none() },
        Filter { status: Some(Status::Approved), ..none() },
        Filter { channel: Some("mail".to_owned()), ..none() },
        Filter { metadata: metadata(&[("order", "4711")]), ..none() },
        Filter { mode: Some(Mode::Live), ..all },
    ];
    for filter in nothing {
        assert_eq!(list(&store, tenant, &filter).await, [], "{filter:?}");
    }
    assert_eq!(list(&store, tenant, &none()).await, [other.id, one.id]);
}

/// Nothing leads from an address to what was erased.
pub async fn a_redacted_address_is_not_found_again(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, seconds(0))).await;
    let index = verification.address.as_ref().expect("it has one").index;
    verification.redact();
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    assert_eq!(list(&store, tenant, &Filter { address: Some(index), ..Filter::default() }).await, []);
    assert_eq!(store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS), Some(verification));
}
