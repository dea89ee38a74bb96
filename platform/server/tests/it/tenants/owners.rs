//! Owners: one stays, whatever races.

use std::collections::BTreeSet;

use serde_json::json;
use wotp_core::domain::id::UserId;
use wotp_core::domain::permission::Role;

use super::{Somebody, Team, member_path};
use crate::client::race;

#[tokio::test]
async fn the_last_owner_stays() {
    let team = Team::set().await;
    team.ask(&team.owner, "post", "/v1/tenant/leave").await.problem(409, "last_owner");
    team.change_role(&team.owner, &team.owner, "admin").await.problem(409, "last_owner");
    team.ask(&team.owner, "delete", member_path(&team.owner)).await.problem(409, "last_owner");
    team.ask(&team.viewer, "post", "/v1/tenant/leave").await.done();
    team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
    team.ask(&team.owner, "post", "/v1/tenant/leave").await.done();
    team.ask(&team.owner, "get", "/v1/tenant").await.problem(404, "not_found");
    assert_eq!(team.owners().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_owners_who_leave_at_once_one_stays() {
    for round in 0..8 {
        let team = Team::set().await;
        team.change_role(&team.owner, &team.admin, "owner").await.expect(200);
        let (owner, admin) = (&team.owner, &team.admin);
        let requests = match round % 4 {
            0 => [team.ask(owner, "post", "/v1/tenant/leave"), team.ask(admin, "post", "/v1/tenant/leave")],
            1 => [team.change_role(owner, owner, "viewer"), team.change_role(admin, admin, "viewer")],
            2 => [team.change_role(owner, admin, "viewer"), team.change_role(admin, owner, "viewer")],
            _ => [team.ask(owner, "delete", member_path(admin)), team.ask(admin, "delete", member_path(owner))],
        };
        let replies = race(requests).await;
        let made = replies.iter().filter(|reply| reply.status < 300).count();
        assert_eq!(made, 1, "{round}: {replies:?}");
        assert_eq!(team.owners().await, 1, "{round}");
    }
}

#[tokio::test]
async fn changes_of_different_members_that_race_are_all_made() {
    let team = Team::set().await;
    let requests = [
        team.change_role(&team.owner, &team.developer, "viewer"),
        team.change_role(&team.owner, &team.viewer, "developer"),
        team.change_role(&team.owner, &team.admin, "owner"),
        team.ask(&team.owner, "patch", "/v1/tenant").json(json!({ "name": "Acme & Sons" })),
    ];
    for reply in race(requests).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let roles = team.roles().await;
    let role = |who: &Somebody| roles.iter().find(|(user, _)| *user == who.id).unwrap().1;
    assert_eq!((role(&team.developer), role(&team.viewer)), (Role::Viewer, Role::Developer));
    assert_eq!(role(&team.admin), Role::Owner);
    assert_eq!(team.ask(&team.owner, "get", "/v1/tenant").await.expect(200)["name"], "Acme & Sons");
}

#[tokio::test]
async fn ownership_goes_to_another_member_whole() {
    let team = Team::set().await;
    let transfer = |by: &Somebody, to: UserId| team.ask(by, "post", "/v1/tenant/transfer").json(json!({ "user": to }));
    transfer(&team.owner, team.owner.id).await.problem(422, "invalid_request");
    transfer(&team.owner, UserId::from_bytes([7; 16])).await.problem(404, "not_found");
    let new = transfer(&team.owner, team.viewer.id).await.expect(200);
    assert_eq!(
        (new["user"].as_str(), new["role"].as_str()),
        (Some(team.viewer.id.to_string().as_str()), Some("owner"))
    );
    let roles = team.roles().await;
    let role = |who: &Somebody| roles.iter().find(|(user, _)| *user == who.id).unwrap().1;
    assert_eq!((role(&team.viewer), role(&team.owner)), (Role::Owner, Role::Admin));
    transfer(&team.owner, team.admin.id).await.problem(403, "role_missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ownership_that_is_transferred_while_the_new_owner_leaves_is_not_lost() {
    for _ in 0..6 {
        let team = Team::set().await;
        let transfer = json!({ "user": team.viewer.id });
        let requests = [
            team.ask(&team.owner, "post", "/v1/tenant/transfer").json(transfer),
            team.ask(&team.viewer, "post", "/v1/tenant/leave"),
        ];
        let statuses: BTreeSet<_> = race(requests).await.into_iter().map(|reply| reply.status).collect();
        assert_eq!(team.owners().await, 1);
        // Either the transfer came first, and the last owner stays; or the leave did.
        assert!([BTreeSet::from([200, 409]), BTreeSet::from([204, 404])].contains(&statuses), "{statuses:?}");
    }
}
