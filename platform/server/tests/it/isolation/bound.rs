//! A key of one service: what another service of the same tenant has is another's.

use serde_json::json;

use super::callers::Caller;
use super::operations::{Asks, Foreign, Operation, calls};
use super::things::{Names, Thing, Things};
use super::{Stage, same};
use crate::app::{TestTenant, id, number};

/// What a service has, and the service.
const OF_A_SERVICE: [Thing; 9] = [
    Thing::Service,
    Thing::Template,
    Thing::Verification,
    Thing::Address,
    Thing::Message,
    Thing::Endpoint,
    Thing::Event,
    Thing::GuardEntry,
    Thing::Destination,
];

/// Whether a key can call it.
fn is_for_keys(operation: &&Operation) -> bool {
    matches!(operation.asks, Asks::Caller(permission) if permission.scope().is_some())
}

/// What comes of naming a thing of another service.
fn foreign(operation: &Operation, thing: Thing) -> Foreign {
    match thing {
        // That there is such a service is known in the tenant.
        Thing::Service | Thing::Template => Foreign::Refused(403, "service_not_allowed"),
        // The tenant's, and of no service.
        Thing::Connection | Thing::LiveConnection => Foreign::Refused(403, "service_not_allowed"),
        _ => operation.foreign,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_of_one_service_neither_sees_nor_touches_what_another_has() {
    let stage = Stage::set().await;
    let (app, acme) = (&stage.app, &stage.acme);
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    let service = id(&shop).parse().expect("an id");
    let key = app.key(acme, |key| key.service = Some(service)).await;
    let shop = TestTenant { id: acme.id, service, live: key.clone(), test: acme.test.clone() };
    let own = Things::some(app, &shop, &number(50), stage.grantee.user, &OF_A_SERVICE).await;
    let caller = Caller::key("a key of another service", &key, |_| None);
    let (before, mut named, mut wrong) = (app.rows(), 0, Vec::new());
    for operation in calls().filter(is_for_keys) {
        for (place, thing) in operation.things().into_iter().enumerate() {
            let Foreign::Refused(status, code) = foreign(operation, thing) else { continue };
            let reply = caller.sends(stage.request(operation, &mut Names::but(&own, place, &stage.things))).await;
            let checked = stage.document.check(operation, &reply, status, code);
            wrong.extend(checked.err().map(|error| format!("{operation}, place {place}: {error}")));
            wrong.extend(stage.told(&reply.text).map(|secret| format!("{operation} tells {secret}")));
            named += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named >= 40, "{named}");
    assert!(app.next_job().await.is_none(), "nothing is sent");
    same(&before, &app.rows());

    // What succeeds, as it names nothing, or finds nothing of another's.
    let before = stage.rows_of(|thing| OF_A_SERVICE.contains(&thing));
    assert!(before.len() > 10, "{}", before.len());
    for operation in calls().filter(is_for_keys) {
        let things = operation.things();
        let found = things.iter().enumerate().filter(|(_, thing)| foreign(operation, **thing) == Foreign::Nothing);
        let mut names: Vec<_> = found.map(|(place, _)| Names::but(&own, place, &stage.things)).collect();
        if things.is_empty() || !names.is_empty() {
            names.push(Names::of(&own));
        }
        for mut names in names {
            let reply = caller.sends(stage.request(operation, &mut names)).await;
            let checked = match (operation.method, operation.path) {
                // It would be another.
                ("post", "/v1/services") | (_, "/v1/connections") => {
                    stage.document.check(operation, &reply, 403, "service_not_allowed")
                }
                _ => stage.document.serves(operation, &reply),
            };
            wrong.extend(checked.err().map(|error| format!("{operation}: {error}")));
            wrong.extend(stage.told(&reply.text).map(|secret| format!("{operation} tells {secret}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    app.run_jobs().await;
    same(&before, &stage.rows_of(|thing| OF_A_SERVICE.contains(&thing)));
}
