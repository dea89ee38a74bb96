//! Linking a client to a phone, and taking it off.

use std::time::Duration;

use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::prelude::*;
use wotp_whatsapp_double::{Double, Error};

use crate::client::{Client, TENANT, nothing_kept, within};

pub async fn shown_code(client: &mut Client) -> String {
    client.qr().await;
    let asked = PairCodeOptions { phone_number: TENANT.to_owned(), ..Default::default() };
    within("a code", client.api().pair_with_code(asked)).await.unwrap()
}

#[tokio::test]
async fn a_phone_that_scans_the_qr_links_the_client() {
    let double = Double::start().await.unwrap();
    let mut client = Client::start(&double, &nothing_kept()).await;
    let qr = client.qr().await;
    let device = within("the pairing", double.scan(TENANT, &qr)).await.unwrap();
    let linked = client
        .told("the pairing", |event| match event {
            Event::PairSuccess(success) => Some(success.id.clone()),
            Event::PairError(error) => panic!("{error:?}"),
            _ => None,
        })
        .await;
    assert_eq!((linked.user.as_str(), linked.device), (TENANT, device));
    // By 515 it was told to come back, and did.
    client.connected().await;
    let devices = double.devices().await;
    assert_eq!(devices.len(), 1);
    assert!(devices[0].connected);
    assert_eq!((devices[0].number.as_str(), devices[0].device, devices[0].logins), (TENANT, device, 1));
    assert!(matches!(double.scan(TENANT, &qr).await, Err(Error::UnknownQr)), "scanned twice");
}

#[tokio::test]
async fn a_person_who_types_the_code_links_the_client() {
    let double = Double::start().await.unwrap();
    let mut client = Client::start(&double, &nothing_kept()).await;
    let code = shown_code(&mut client).await;
    within("the pairing", double.enter_code(TENANT, &code)).await.unwrap();
    client.connected().await;
    assert!(double.devices().await[0].connected);
}

#[tokio::test]
async fn a_wrong_code_links_nobody_and_the_right_one_still_does() {
    let double = Double::start().await.unwrap();
    assert!(matches!(double.enter_code(TENANT, "ABCD1234").await, Err(Error::NoCodeAskedFor)));
    let mut client = Client::start(&double, &nothing_kept()).await;
    let code = shown_code(&mut client).await;
    let wrong = code.replacen(|_| true, if code.starts_with('1') { "2" } else { "1" }, 1);
    assert_ne!(wrong, code);
    let refused = within("the refusal", double.enter_code(TENANT, &wrong)).await;
    assert!(matches!(refused, Err(Error::WrongCode)), "{refused:?}");
    assert!(double.devices().await.is_empty());
    within("the pairing", double.enter_code(TENANT, &code)).await.unwrap();
    client.connected().await;
}

#[tokio::test]
async fn a_code_that_nobody_types_in_time_links_nobody() {
    let double = Double::start().await.unwrap();
    let mut client = Client::start(&double, &nothing_kept()).await;
    let code = shown_code(&mut client).await;
    // Client and double live by the same clock.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(180)).await;
    tokio::time::resume();
    assert!(matches!(double.enter_code(TENANT, &code).await, Err(Error::NoCodeAskedFor)));
}

#[tokio::test]
async fn an_expired_qr_links_nobody_and_the_client_comes_back_for_a_new_one() {
    let double = Double::start().await.unwrap();
    let mut client = Client::start(&double, &nothing_kept()).await;
    let expired = client.qr().await;
    double.expire_qr().await;
    assert!(matches!(double.scan(TENANT, &expired).await, Err(Error::UnknownQr)));
    let renewed = client.qr().await;
    assert_ne!(renewed, expired);
    within("the pairing", double.scan(TENANT, &renewed)).await.unwrap();
    client.connected().await;
}

#[tokio::test]
async fn a_qr_that_nobody_scans_in_time_is_followed_by_another() {
    let double = Double::start().await.unwrap();
    let mut client = Client::start(&double, &nothing_kept()).await;
    let expired = client.qr().await;
    // Client and double live by the same clock.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let shown = client.qr().await;
    assert_ne!(shown, expired);
    assert!(matches!(double.scan(TENANT, &expired).await, Err(Error::UnknownQr)));
    within("the pairing", double.scan(TENANT, &shown)).await.unwrap();
    client.connected().await;
}

#[tokio::test]
async fn what_is_no_qr_is_refused() {
    let double = Double::start().await.unwrap();
    assert!(matches!(double.scan(TENANT, "https://example.com").await, Err(Error::NotAQr)));
}

#[tokio::test]
async fn a_client_that_logs_out_is_off_the_phone() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    within("the logout", client.api().logout()).await;
    client.told("the logout", |event| matches!(event, Event::LoggedOut(_)).then_some(())).await;
    assert!(double.devices().await.is_empty());
}
