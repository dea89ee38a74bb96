//! An operator who installs plugins in a server that runs, over its interface.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{ApiError, Requests};
use crate::client::{CallError, Client};
use crate::stand::{Stand, StandError};

const EMAIL: &str = "root@example.com";
const PASSWORD: &str = "a sentence that nobody else thought of";

/// Somebody who is signed in.
pub struct Operator {
    address: SocketAddr,
    requests: Requests,
}

/// What a plugin is given.
pub struct Given<'a> {
    /// The hosts that it may call.
    pub hosts: &'a [String],
    /// Its settings.
    pub config: Value,
    /// Its secrets.
    pub secrets: Value,
    /// Calls of it at once.
    pub concurrency: u32,
}

impl Stand {
    /// Makes somebody an operator of the installation in this folder, which is not served yet.
    ///
    /// # Errors
    /// [`StandError`].
    pub fn create_operator(&self, data: &Path) -> Result<(), StandError> {
        let file = data.join("bench-operator.password");
        fs::write(&file, PASSWORD)?;
        let mut command = self.wotp();
        command.args(["operator", "create", EMAIL, "--password-file"]).arg(file).arg("--data").arg(data);
        let output = command.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(StandError::Operator(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }
}

impl Operator {
    /// Signs in.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn sign_in(address: SocketAddr) -> Result<Self, ApiError> {
        let mut stranger = Self { address, requests: Requests::new(address, None) };
        let body = json!({ "email": EMAIL, "password": PASSWORD, "token_transport": "body" });
        let session = stranger.ask("login", Asked::Post("/v1/auth/login", body), 200).await?;
        let Some(token) = session["access_token"].as_str() else {
            return Err(ApiError::incomplete("login", "an access token", session.to_string().as_bytes()));
        };
        Ok(Self { address, requests: Requests::new(address, Some(token)) })
    }

    /// Installs a component as the channel of this name, and switches it on for these tenants; for all, where none is
    /// named.
    ///
    /// # Errors
    /// [`ApiError::Refused`] where it is no plugin that is taken.
    pub async fn install(
        &mut self,
        component: &[u8],
        channel: &str,
        given: Given<'_>,
        tenants: &[&str],
    ) -> Result<String, ApiError> {
        let body = json!({ "component": STANDARD.encode(component), "unsigned": true, "channel": channel });
        let installed = self.ask("install", Asked::Post("/operator/v1/plugins", body), 201).await?;
        let Some(id) = installed["id"].as_str() else {
            return Err(ApiError::incomplete("install", "an id", installed.to_string().as_bytes()));
        };
        let path = format!("/operator/v1/plugins/{id}");
        let settings = json!({
            "config": given.config,
            "secrets": given.secrets,
            "concurrency": given.concurrency,
        });
        let approval = json!({ "hosts": given.hosts, "settings": settings });
        self.ask("approve", Asked::Post(&format!("{path}/approve"), approval), 200).await?;
        let audience = if tenants.is_empty() { json!({ "all": true }) } else { json!({ "tenants": tenants }) };
        self.ask("enable", Asked::Post(&format!("{path}/enable"), audience), 200).await?;
        Ok(id.to_owned())
    }

    /// Switches a plugin on for whom it was on before, or off.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn switch(&mut self, id: &str, on: bool) -> Result<(), ApiError> {
        let what = if on { "enable" } else { "disable" };
        let path = format!("/operator/v1/plugins/{id}/{what}");
        self.ask("switch", Asked::Post(&path, json!({})), 200).await.map(drop)
    }

    /// Jobs that wait for a worker.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn waiting(&mut self) -> Result<u64, ApiError> {
        let work = self.ask("work", Asked::Get("/operator/v1/work"), 200).await?;
        work["waiting"].as_u64().ok_or_else(|| ApiError::incomplete("work", "what waits", work.to_string().as_bytes()))
    }

    async fn ask(&mut self, call: &'static str, asked: Asked<'_>, expected: u16) -> Result<Value, ApiError> {
        let request = match &asked {
            Asked::Get(path) => self.requests.get(&[path]),
            Asked::Post(path, body) => self.requests.post(&[path], body),
        };
        // Anew each time: between two calls the server may have had enough of waiting for the second.
        let mut client = Client::connect(self.address).await.map_err(CallError::from)?;
        let reply = client.call(request).await?;
        if reply.status != expected {
            return Err(ApiError::refused(call, reply.status, reply.body));
        }
        serde_json::from_slice(reply.body).map_err(|_| ApiError::incomplete(call, "JSON", reply.body))
    }
}

enum Asked<'a> {
    Get(&'a str),
    Post(&'a str, Value),
}
