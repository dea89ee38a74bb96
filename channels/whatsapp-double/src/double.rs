//! The double: started, asked and told by tests and by the admin API.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::error::{Error, Result};
use crate::faults::{Rule, Strike};
use crate::inbox::Inbox;
use crate::noise::Certificate;
use crate::pairing::Outcome;
use crate::people::{Address, Receipts, World};
use crate::session::NewChatCap;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) inbox: Inbox,
    pub(crate) certificate: Certificate,
    changed: watch::Sender<()>,
    /// How often a client ended the handshake once it had seen the certificate.
    refusals: watch::Sender<u32>,
}

impl Shared {
    /// Wakes whoever waits for something about devices.
    pub(crate) fn changed(&self) {
        self.changed.send_replace(());
    }

    /// A client ended the handshake once it had seen the certificate.
    pub(crate) fn was_refused(&self) {
        self.refusals.send_modify(|refusals| *refusals += 1);
    }
}

/// A WhatsApp of its own, on this machine. It ends, with all connections, when the last handle is dropped.
#[derive(Clone)]
pub struct Double {
    shared: Arc<Shared>,
    server: Arc<Server>,
}

struct Server {
    address: SocketAddr,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().take() {
            running.abort();
        }
    }
}

/// A client that is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// The number that it is linked to.
    pub number: String,
    /// Which of the number's devices it is.
    pub device: u16,
    /// Whether it is logged in now.
    pub connected: bool,
    /// How often it has logged in.
    pub logins: u32,
    /// How often it logged in while it was still logged in over another connection, whose place it took.
    pub displaced: u32,
    /// Whether it knew the server's key already when it last logged in, and took the short handshake (IK).
    pub short_handshake: bool,
    /// How many keys it has left with the server for those who have yet to write to it.
    pub one_time_keys: usize,
    /// How many stanzas wait for it, or for its acknowledgement.
    pub waiting: usize,
    /// How often somebody could not decrypt what it sent, and asked for it again.
    pub asked_again: u32,
}

/// A receipt for a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It was delivered.
    Delivered,
    /// It was read.
    Read,
}

impl Double {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`Error::Network`] when there is none.
    pub async fn start() -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts at an address.
    ///
    /// # Errors
    /// [`Error::Network`] when the address cannot be listened at.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            inbox: Inbox::new(),
            certificate: Certificate::new()?,
            changed: watch::Sender::new(()),
            refusals: watch::Sender::new(0),
        });
        let running = tokio::spawn(serve(Arc::clone(&shared), listener));
        Ok(Self { shared, server: Arc::new(Server { address, running: Mutex::new(Some(running)) }) })
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/ws/chat", self.server.address)
    }

    /// The public key that the server's certificate chain ends in, as WhatsApp's ends in one that clients know.
    pub fn certificate_root(&self) -> [u8; 32] {
        self.shared.certificate.root()
    }

    /// Goes down: every connection breaks, and nobody can connect.
    pub async fn down(&self) {
        if let Some(running) = self.server.running.lock().await.take() {
            running.abort();
            // It ends as told; its connections and the listener end with it.
            let _ = running.await;
        }
        self.shared.world.lock().await.hang_up_all();
        self.shared.changed();
    }

    /// Comes back at the same address, with everything it knew.
    ///
    /// # Errors
    /// [`Error::Network`] when somebody else listens there by now.
    pub async fn up(&self) -> Result<()> {
        let mut running = self.server.running.lock().await;
        if running.is_none() {
            let listener = TcpListener::bind(self.server.address).await?;
            *running = Some(tokio::spawn(serve(Arc::clone(&self.shared), listener)));
        }
        Ok(())
    }

    /// The phone of a number scans the QR that a device shows. Which of the number's devices it has become.
    ///
    /// # Errors
    /// [`Error::NotAQr`], [`Error::UnknownQr`]; [`Error::PairingRefused`] when the device does not complete it.
    pub async fn scan(&self, number: &str, qr: &str) -> Result<u16> {
        let outcome = self.shared.world.lock().await.scan(&digits(number), qr)?;
        self.paired(outcome).await
    }

    /// The person of a number types the code that a device shows. Which of the number's devices it has become.
    ///
    /// # Errors
    /// [`Error::NoCodeAskedFor`], [`Error::WrongCode`]; [`Error::PairingRefused`] when the device does not complete it.
    pub async fn enter_code(&self, number: &str, code: &str) -> Result<u16> {
        let outcome = self.shared.world.lock().await.enter_code(&digits(number), code)?;
        self.paired(outcome).await
    }

    async fn paired(&self, outcome: Outcome) -> Result<u16> {
        let address: Address = outcome.await.map_err(|_| Error::PairingRefused)??;
        Ok(address.device)
    }

    /// All QRs that are shown now expire, and the connections of the devices that show them end.
    pub async fn expire_qr(&self) {
        self.shared.world.lock().await.expire_qr();
    }

    /// What people have received.
    pub fn inbox(&self) -> &Inbox {
        &self.shared.inbox
    }

    /// A person writes to a number that clients are linked to. The id of the message.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] when no client of the number has published keys.
    pub async fn say(&self, from: &str, to: &str, text: &str) -> Result<String> {
        self.shared.world.lock().await.say(&digits(from), &digits(to), text).await
    }

    /// The phone that received a message sends a receipt for it.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`].
    pub async fn receipt(&self, message: &str, receipt: Receipt) -> Result<()> {
        let received = self.inbox().all().into_iter().find(|received| received.id == message);
        let received = received.ok_or(Error::NoSuchMessage)?;
        let kind = match receipt {
            Receipt::Delivered => None,
            Receipt::Read => Some("read"),
        };
        let phone = Address::new(&received.to, 0);
        self.shared.world.lock().await.push_receipt(&received.from, message, &phone, kind)
    }

    /// Which receipts a person's phone sends by itself; at first that a message was delivered.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_receipts(&self, number: &str, receipts: Receipts) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.receipts = receipts;
        Ok(())
    }

    /// Whether a number has WhatsApp; at first every number has.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_registered(&self, number: &str, registered: bool) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.registered = registered;
        Ok(())
    }

    /// The account under a number has other digits, as those have that are older than a change of their country's numbers.
    /// Under the number itself nobody is reached.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_account(&self, number: &str, account: &str) -> Result<()> {
        let mut world = self.shared.world.lock().await;
        let person = world.person(&digits(number))?;
        (person.registered, person.account) = (false, Some(digits(account)));
        Ok(())
    }

    /// Whether an account goes by addresses that tell no number, to which it is written and from which others write to
    /// it; at first every account does. Clients are told when they are linked.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_lid_migrated(&self, number: &str, migrated: bool) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.lid_migrated = migrated;
        Ok(())
    }

    /// Gives a person another phone, with other keys: what was encrypted for the old one is asked for again.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn change_phone(&self, number: &str) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.change_phone()
    }

    /// Gives a person one more device, which reads what the phone reads. Clients that have written with the person are
    /// told. The device's number.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a device cannot be made.
    pub async fn add_companion(&self, number: &str) -> Result<u16> {
        let number = digits(number);
        let mut world = self.shared.world.lock().await;
        let device = world.add_companion(&number)?;
        world.announce(&number, device)?;
        Ok(device)
    }

    /// Time-locks an account until then, in seconds since 1970: it cannot write to strangers. `None` frees it.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_time_lock(&self, number: &str, ends: Option<u64>) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.restrictions.time_lock_ends = ends;
        Ok(())
    }

    /// Limits how many strangers an account can write to. `None` frees it.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn set_new_chat_cap(&self, number: &str, cap: Option<NewChatCap>) -> Result<()> {
        self.shared.world.lock().await.person(&digits(number))?.restrictions.new_chats = cap;
        Ok(())
    }

    /// Tells a number's clients, unasked, what it is restricted to. When that is set they are not told: they find out when
    /// a message is refused, or ask.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a phone cannot be made.
    pub async fn tell_restrictions(&self, number: &str) -> Result<()> {
        self.shared.world.lock().await.tell_restrictions(&digits(number))
    }

    /// Lets something go wrong when its occasion comes.
    pub async fn arm(&self, mut rule: Rule) {
        rule.number = rule.number.as_deref().map(digits);
        // What never strikes is no rule.
        if rule.times != Some(0) {
            self.shared.world.lock().await.rules.add(rule);
        }
    }

    /// What waits for its occasion.
    pub async fn armed(&self) -> Vec<Rule> {
        self.shared.world.lock().await.rules.waiting()
    }

    /// Takes back what waits for its occasion.
    pub async fn disarm(&self) {
        self.shared.world.lock().await.rules.clear();
    }

    /// Lets something go wrong at once, for the clients that are linked to a number.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`].
    pub async fn strike(&self, number: &str, strike: Strike) -> Result<()> {
        let number = digits(number);
        let mut world = self.shared.world.lock().await;
        let struck = match strike {
            Strike::Drop => world.drop_connections(&number),
            Strike::DeviceRemoved => world.remove_devices(&number),
            Strike::Conflict => world.conflict(&number),
            Strike::StreamError { code } => world.stream_error(&number, code),
        };
        drop(world);
        self.shared.changed();
        struck
    }

    /// Waits until clients have ended the handshake so often once they had seen the certificate, as those do that check it.
    pub async fn wait_for_refusals(&self, count: u32) {
        let mut refusals = self.shared.refusals.subscribe();
        if refusals.wait_for(|refusals| *refusals >= count).await.is_err() {
            unreachable!("the sender is in here");
        }
    }

    /// The clients that are linked.
    pub async fn devices(&self) -> Vec<DeviceStatus> {
        let world = self.shared.world.lock().await;
        world
            .linked
            .iter()
            .map(|(address, linked)| DeviceStatus {
                number: address.number.clone(),
                device: address.device,
                connected: linked.line.is_some(),
                logins: linked.logins,
                displaced: linked.displaced,
                short_handshake: linked.short_handshake,
                one_time_keys: linked.one_time.len(),
                waiting: linked.queue.len(),
                asked_again: linked.asked_again,
            })
            .collect()
    }

    /// Waits until something holds of the clients that are linked, for as long as it takes.
    pub async fn wait_for<T>(&self, mut holds: impl FnMut(&[DeviceStatus]) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(found) = holds(&self.devices().await) {
                return found;
            }
            if changed.changed().await.is_err() {
                unreachable!("the sender is in here");
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        if let Err(error) = connection::serve(shared, stream).await {
                            tracing::debug!(error = &error as &dyn std::error::Error, "a connection has ended");
                        }
                    });
                }
                // Of a client that went away, or of files that ran out: that takes a while to change.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no connection was accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A number as addresses have it: digits only.
pub(crate) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}
