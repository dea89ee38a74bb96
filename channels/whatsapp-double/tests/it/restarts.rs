//! The client or the double goes away, and comes back on what it kept.

use wotp_whatsapp_double::{Double, Strike};

use crate::client::{ANNA, Client, TENANT, nothing_kept, within};

async fn delivers(double: &Double, client: &mut Client, text: &str) {
    let id = client.send(ANNA, text).await;
    assert_eq!(client.ack(&id).await, None);
    let received = within("the message", double.inbox().wait(|message| message.id == id)).await;
    assert_eq!(received.text.as_deref(), Some(text));
}

#[tokio::test]
async fn a_client_that_is_started_again_goes_on_without_pairing() {
    let double = Double::start().await.unwrap();
    let kept = nothing_kept();
    let mut client = Client::linked_to(&double, TENANT, &kept).await;
    delivers(&double, &mut client, "before").await;
    client.stop().await;
    let mut client = Client::start(&double, &kept).await;
    client.connected().await;
    delivers(&double, &mut client, "after").await;
    let device = &double.devices().await[0];
    assert_eq!(device.logins, 2);
    assert!(device.short_handshake, "it kept the server's key");
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    double.strike(TENANT, Strike::Drop).await.unwrap();
    client.disconnected().await;
    client.connected().await;
    delivers(&double, &mut client, "after").await;
}

#[tokio::test]
async fn a_server_that_was_down_comes_back_with_all_it_knew() {
    let double = Double::start().await.unwrap();
    let mut client = Client::linked(&double).await;
    delivers(&double, &mut client, "before").await;
    double.down().await;
    client.disconnected().await;
    assert!(!double.devices().await[0].connected);
    assert!(
        tokio::net::TcpStream::connect(double.url().trim_start_matches("ws://").trim_end_matches("/ws/chat"))
            .await
            .is_err()
    );
    // What is written meanwhile waits.
    double.say(ANNA, TENANT, "while you were down").await.unwrap();
    double.up().await.unwrap();
    client.connected().await;
    assert_eq!(client.message().await.0, "while you were down");
    delivers(&double, &mut client, "after").await;
}
