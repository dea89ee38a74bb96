//! The double of WhatsApp as a process, by its admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{ApiError, Requests};
use crate::client::{CallError, Client};
use crate::process::{ProcessError, Server};

/// Its program, as it is built.
const PROGRAM: &str = "wotp-whatsapp-double";

/// The double, while it runs.
pub struct Double {
    server: Server,
}

/// A message that somebody has.
#[derive(Debug, Deserialize)]
pub struct Received {
    /// The digits of their number.
    pub to: String,
    /// When it came, in microseconds since 1970.
    pub at_micros: u64,
}

/// A session that is linked.
#[derive(Debug, Deserialize)]
struct Device {
    connected: bool,
    logins: u64,
}

/// How the sessions stand that are linked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Those that are logged in.
    pub connected: usize,
    /// How often all of them have logged in.
    pub logins: u64,
}

#[derive(Deserialize)]
struct About {
    url: String,
}

impl Double {
    /// Starts it, of the programs in this folder.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn start(programs: &Path, log: &Path) -> Result<Self, ProcessError> {
        Ok(Self { server: Server::spawn(Command::new(programs.join(PROGRAM)), log)? })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Where its admin API is.
    pub fn admin(&self) -> Admin {
        Admin { address: self.server.address() }
    }
}

/// The admin API: whoever has it controls the double.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// Where clients connect.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn url(self) -> Result<String, ApiError> {
        Ok(self.get::<About>("/").await?.url)
    }

    /// The phone of a number scans the QR of a session.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn scan(self, number: &str, qr: &str) -> Result<(), ApiError> {
        self.post("/scan", json!({ "number": number, "qr": qr })).await
    }

    /// How the sessions stand that are linked.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn standing(self) -> Result<Standing, ApiError> {
        let devices: Vec<Device> = self.get("/devices").await?;
        let add = |sum: Standing, device: &Device| Standing {
            connected: sum.connected + usize::from(device.connected),
            logins: sum.logins + device.logins,
        };
        Ok(devices.iter().fold(Standing::default(), add))
    }

    /// All messages that anybody has.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn inbox(self) -> Result<Vec<Received>, ApiError> {
        self.get("/inbox").await
    }

    /// Breaks the connection of a number's sessions.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn strike(self, number: &str) -> Result<(), ApiError> {
        self.call("/strikes/", number.trim_start_matches('+'), json!({ "strike": "drop" })).await
    }

    /// Breaks all connections, and takes none.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn down(self) -> Result<(), ApiError> {
        self.post("/down", json!({})).await
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn up(self) -> Result<(), ApiError> {
        self.post("/up", json!({})).await
    }

    async fn get<T: DeserializeOwned>(self, path: &'static str) -> Result<T, ApiError> {
        let mut client = Client::connect(self.address).await.map_err(CallError::from)?;
        let reply = client.call(Requests::new(self.address, None).get(&[path])).await?;
        if reply.status != 200 {
            return Err(ApiError::refused(path, reply.status, reply.body));
        }
        serde_json::from_slice(reply.body).map_err(|_| ApiError::incomplete(path, "what the double tells", reply.body))
    }

    async fn post(self, path: &'static str, body: Value) -> Result<(), ApiError> {
        self.call(path, "", body).await
    }

    async fn call(self, path: &'static str, of: &str, body: Value) -> Result<(), ApiError> {
        let mut client = Client::connect(self.address).await.map_err(CallError::from)?;
        let reply = client.call(Requests::new(self.address, None).post(&[path, of], &body)).await?;
        match reply.status {
            200 => Ok(()),
            status => Err(ApiError::refused(path, status, reply.body)),
        }
    }
}
