//! Talking to the mail server: few connections, kept open, each step known.
//!
//! `lettre` has a pool of its own. It is not used because it tells neither at which step a message
//! failed, so that "the connection broke" could mean "nothing happened" or "it may have been sent",
//! nor bounds the time of a step; and it asks before each message whether a kept connection still
//! lives, one round trip that a person waits for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Quit, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::fault::{Fault, Step};
use crate::settings::Tls;

/// Most connections at once. Providers limit them, the strict ones to about ten.
const CONNECTIONS_MAX: usize = 8;
/// Longest that a message waits for one of them before it is tried again later.
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// How long a connection is kept when nothing is sent. Servers end idle ones after one to five
/// minutes.
const IDLE_MAX: Duration = Duration::from_secs(45);

/// Connections to one mail server.
pub(crate) struct Sessions {
    host: String,
    port: u16,
    tls: Tls,
    tls_parameters: TlsParameters,
    credentials: Option<Credentials>,
    hello: ClientId,
    timeout: Duration,
    permits: Semaphore,
    parked: Mutex<Vec<Parked>>,
}

struct Parked {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// What [`Sessions`] needs to know.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) tls_parameters: TlsParameters,
    pub(crate) credentials: Option<Credentials>,
    /// Who we say we are: the sender's domain.
    pub(crate) hello: String,
    pub(crate) timeout: Duration,
}

impl Sessions {
    pub(crate) fn new(server: Server) -> Self {
        let Server { host, port, tls, tls_parameters, credentials, hello, timeout } = server;
        Self {
            host,
            port,
            tls,
            tls_parameters,
            credentials,
            hello: ClientId::Domain(hello),
            timeout,
            permits: Semaphore::new(CONNECTIONS_MAX),
            parked: Mutex::new(Vec::new()),
        }
    }

    /// Hands the message over, and returns the server's answer to it.
    ///
    /// May be dropped at any moment: the connection in use is then closed, none is lost.
    pub(crate) async fn deliver(&self, envelope: &Envelope, message: &[u8]) -> Result<Response, Fault> {
        // Whoever does not get a turn in time has handed nothing over, and says so while somebody
        // still listens: the shortest wait for an acknowledgement is 3 seconds.
        let turn = tokio::time::timeout(TURN_WITHIN, self.permits.acquire()).await;
        let _permit = turn.map_err(|_| Fault::silent(Step::Connect))?.expect("the semaphore is never closed");
        if let Some(mut connection) = self.take_parked() {
            match self.hand_over(&mut connection, envelope, message).await {
                Err(fault) if fault.is_stale_connection() => {}
                result => return self.finish(connection, result).await,
            }
        }
        let mut connection = self.open().await?;
        let result = self.hand_over(&mut connection, envelope, message).await;
        self.finish(connection, result).await
    }

    /// Connects and logs in, on a connection of its own that is then closed.
    pub(crate) async fn try_out(&self) -> Result<(), Fault> {
        let mut connection = self.open().await?;
        self.step(Step::Login, connection.command(Noop)).await?;
        self.leave(connection).await;
        Ok(())
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, Fault> {
        let wrapper = (self.tls == Tls::Tls).then(|| self.tls_parameters.clone());
        // Half, so that a name with two addresses, one of them dead, leaves time for the other.
        let each_address = Some(self.timeout / 2);
        let server = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, each_address, &self.hello, wrapper, None);
        let mut connection = self.step(Step::Connect, connecting).await?;
        if self.tls == Tls::StartTls {
            self.step(Step::Connect, connection.starttls(self.tls_parameters.clone(), &self.hello)).await?;
        }
        if let Some(credentials) = &self.credentials {
            self.step(Step::Login, connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<Response, Fault> {
        let mut parameters = Vec::new();
        let ascii = |address: &lettre::Address| AsRef::<str>::as_ref(address).is_ascii();
        if !envelope.to().iter().all(ascii) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Fault::lacking(
                    Step::Recipient,
                    "the mail server takes ASCII addresses only (no SMTPUTF8), and this one is not",
                ));
            }
            parameters.push(MailParameter::SmtpUtfEight);
            // The address is in the header too, as it is. Whoever takes SMTPUTF8 takes this
            // (RFC 6531, 3.1).
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let sender = Mail::new(envelope.from().cloned(), parameters);
        self.step(Step::Sender, connection.command(sender)).await?;
        for recipient in envelope.to() {
            self.step(Step::Recipient, connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await?;
        }
        self.step(Step::Data, connection.command(Data)).await?;
        self.step(Step::Message, connection.message(message)).await
    }

    async fn step<T>(
        &self,
        step: Step,
        doing: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout, doing).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Fault::of(step, &error)),
            Err(_) => Err(Fault::silent(step)),
        }
    }

    /// Keeps the connection for the next message where it can be.
    async fn finish(
        &self,
        mut connection: AsyncSmtpConnection,
        result: Result<Response, Fault>,
    ) -> Result<Response, Fault> {
        let usable = match &result {
            Ok(_) => true,
            Err(fault) if fault.leaves_session() => self.step(fault.step, connection.command(Rset)).await.is_ok(),
            Err(_) => false,
        };
        if usable {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            parked.push(Parked { connection, since: Instant::now() });
        }
        result
    }

    /// The connection used last, so that those that are not needed grow old.
    fn take_parked(&self) -> Option<AsyncSmtpConnection> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|one| one.since.elapsed() < IDLE_MAX);
        parked.pop().map(|one| one.connection)
    }

    async fn leave(&self, mut connection: AsyncSmtpConnection) {
        // A server that does not say goodbye takes nothing from what is proven.
        let _ = tokio::time::timeout(self.timeout, connection.command(Quit)).await;
    }
}
