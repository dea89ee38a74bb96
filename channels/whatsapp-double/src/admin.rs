//! The double over HTTP, for tests that are not in Rust and for people at a terminal.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::double::{DeviceStatus, Double, Receipt, digits};
use crate::error::{Error, Result};
use crate::faults::{Rule, Strike};
use crate::inbox::Received;
use crate::people::Receipts;
use crate::session::NewChatCap;

/// The admin API of a double. It has no keys: serve it on loopback only.
pub fn router(double: Double) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/devices", get(devices))
        .route("/scan", post(scan))
        .route("/code", post(enter_code))
        .route("/qr/expire", post(expire_qr))
        .route("/inbox", get(inbox))
        .route("/messages", post(say))
        .route("/receipts", post(receipt))
        .route("/people/{number}", patch(change_person))
        .route("/people/{number}/companions", post(add_companion))
        .route("/people/{number}/phone", post(change_phone))
        .route("/people/{number}/restrictions", post(tell_restrictions))
        .route("/faults", get(armed).post(arm).delete(disarm))
        .route("/strikes/{number}", post(strike))
        .route("/down", post(down))
        .route("/up", post(up))
        .with_state(double)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotAQr => StatusCode::BAD_REQUEST,
            Self::UnknownQr | Self::NoCodeAskedFor | Self::NoSuchDevice | Self::NoSuchMessage => StatusCode::NOT_FOUND,
            Self::WrongCode | Self::PairingRefused => StatusCode::CONFLICT,
            Self::CertificateRefused | Self::Malformed(_) | Self::Crypto(_) | Self::Network(_) | Self::WebSocket(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

async fn about(State(double): State<Double>) -> Json<Value> {
    let root: String = double.certificate_root().iter().map(|byte| format!("{byte:02x}")).collect();
    Json(json!({ "url": double.url(), "certificate_root": root }))
}

async fn devices(State(double): State<Double>) -> Json<Vec<DeviceStatus>> {
    Json(double.devices().await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    number: String,
    qr: String,
}

async fn scan(State(double): State<Double>, Json(scan): Json<Scan>) -> Result<Json<Value>> {
    Ok(Json(json!({ "device": double.scan(&scan.number, &scan.qr).await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    number: String,
    code: String,
}

async fn enter_code(State(double): State<Double>, Json(typed): Json<Typed>) -> Result<Json<Value>> {
    Ok(Json(json!({ "device": double.enter_code(&typed.number, &typed.code).await? })))
}

async fn expire_qr(State(double): State<Double>) {
    double.expire_qr().await;
}

/// Which messages are wanted, and how long to wait for the first of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    wait_seconds: u64,
}

impl Wanted {
    fn is(&self, message: &Received) -> bool {
        let of =
            |wanted: &Option<String>, number: &str| wanted.as_deref().is_none_or(|wanted| digits(wanted) == number);
        let it = self.id.as_deref().is_none_or(|wanted| wanted == message.id);
        it && of(&self.from, &message.from) && of(&self.to, &message.to)
    }
}

async fn inbox(State(double): State<Double>, Query(wanted): Query<Wanted>) -> Json<Vec<Received>> {
    let first = double.inbox().wait(|message| wanted.is(message));
    // None in time is an empty list.
    let _ = tokio::time::timeout(Duration::from_secs(wanted.wait_seconds), first).await;
    Json(double.inbox().all().into_iter().filter(|message| wanted.is(message)).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    from: String,
    to: String,
    text: String,
}

async fn say(State(double): State<Double>, Json(say): Json<Say>) -> Result<Json<Value>> {
    Ok(Json(json!({ "id": double.say(&say.from, &say.to, &say.text).await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    message: String,
    receipt: Receipt,
}

async fn receipt(State(double): State<Double>, Json(sent): Json<Sent>) -> Result<()> {
    double.receipt(&sent.message, sent.receipt).await
}

/// What is to be different about a person; what is left out stays. `null` takes a restriction away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    registered: Option<bool>,
    account: Option<String>,
    lid_migrated: Option<bool>,
    receipts: Option<Receipts>,
    #[serde(default, deserialize_with = "given")]
    time_lock_ends: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    new_chat_cap: Option<Option<NewChatCap>>,
}

/// Tells `null` from what is left out.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(source).map(Some)
}

async fn change_person(
    State(double): State<Double>,
    Path(number): Path<String>,
    Json(change): Json<Change>,
) -> Result<()> {
    if let Some(registered) = change.registered {
        double.set_registered(&number, registered).await?;
    }
    if let Some(account) = change.account {
        double.set_account(&number, &account).await?;
    }
    if let Some(migrated) = change.lid_migrated {
        double.set_lid_migrated(&number, migrated).await?;
    }
    if let Some(receipts) = change.receipts {
        double.set_receipts(&number, receipts).await?;
    }
    if let Some(ends) = change.time_lock_ends {
        double.set_time_lock(&number, ends).await?;
    }
    if let Some(cap) = change.new_chat_cap {
        double.set_new_chat_cap(&number, cap).await?;
    }
    Ok(())
}

async fn add_companion(State(double): State<Double>, Path(number): Path<String>) -> Result<Json<Value>> {
    Ok(Json(json!({ "device": double.add_companion(&number).await? })))
}

async fn change_phone(State(double): State<Double>, Path(number): Path<String>) -> Result<()> {
    double.change_phone(&number).await
}

async fn tell_restrictions(State(double): State<Double>, Path(number): Path<String>) -> Result<()> {
    double.tell_restrictions(&number).await
}

async fn armed(State(double): State<Double>) -> Json<Vec<Rule>> {
    Json(double.armed().await)
}

async fn arm(State(double): State<Double>, Json(rule): Json<Rule>) {
    double.arm(rule).await;
}

async fn disarm(State(double): State<Double>) {
    double.disarm().await;
}

async fn strike(State(double): State<Double>, Path(number): Path<String>, Json(strike): Json<Strike>) -> Result<()> {
    double.strike(&number, strike).await
}

async fn down(State(double): State<Double>) {
    double.down().await;
}

async fn up(State(double): State<Double>) -> Result<()> {
    double.up().await
}
