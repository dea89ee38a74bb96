//! Sending one message, until WhatsApp's server has acknowledged it.

use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use whatsapp_rust::prelude::{MessageBuilderExt as _, wa};
use whatsapp_rust::send::SendError as ClientError;
use whatsapp_rust::{Client, ErrorChainExt as _, Jid, SendOptions};
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Acknowledged, Reference, SendError};

use super::account::Account;
use super::pairing::digits;
use super::todos::Todo;
use super::{Core, Session, lock};
use crate::directory::{Refusal, Unknown};
use crate::health::{Held, Recipient, Waited};
use crate::sent::{Answer, message_id};

/// When to come again for what passes by itself, as a connection that is made again.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// When to come again after a 429.
const LATER: SignedDuration = SignedDuration::from_mins(1);

const TOO_MUCH: &str = "WhatsApp says that it is too much (429)";
const FORGOTTEN: &str = "so much was sent meanwhile that its answer would not be known again";

/// A message to one person.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    /// Names it: the same for every retry.
    pub reference: Reference,
    /// To whom.
    pub to: &'a Phone,
    /// The whole text.
    pub text: &'a str,
}

impl fmt::Debug for Letter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// A message to one account.
#[derive(Clone, Copy)]
pub(super) struct Addressed<'a> {
    pub(super) reference: Reference,
    /// The digits of its number.
    pub(super) number: &'a str,
    pub(super) text: &'a str,
}

/// A message that did not get out, as far as is known.
pub(crate) struct NotSent {
    pub(crate) error: SendError,
    /// Whether another number of the tenant may try: nothing of it got out, and what is in the way is this number's.
    pub(crate) for_others: bool,
}

impl From<SendError> for NotSent {
    fn from(error: SendError) -> Self {
        let for_others = matches!(error, SendError::Away { .. });
        Self { error, for_others }
    }
}

fn away(after: SignedDuration, detail: &str) -> SendError {
    SendError::Away { after, detail: detail.to_owned() }
}

fn unknown(detail: &str) -> SendError {
    SendError::Unknown { detail: detail.to_owned() }
}

/// A message that was counted: taken back when it does not go out.
struct Counted {
    core: Arc<Core>,
    to: Recipient,
    at: Timestamp,
    out: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.out {
            lock(&self.core.sender).take_back(self.to, self.at);
            self.core.fares_otherwise();
        }
        self.core.todo(Todo::Note);
    }
}

impl Session {
    /// Sends a message, and returns when WhatsApp's server has acknowledged it, or its recipient. While the connection
    /// breaks it is sent again under the same id, which its recipient sees once.
    ///
    /// The caller may give up at any moment: what is acknowledged then is reported
    /// ([`Listen::reported`](crate::Listen::reported)).
    ///
    /// # Errors
    /// [`SendError`]. `Away`: nothing was handed over.
    pub async fn send(&self, letter: Letter<'_>) -> Result<Acknowledged, SendError> {
        self.try_to_send(letter, &mut Waited::default()).await.map_err(|not_sent| not_sent.error)
    }

    /// As [`send`](Self::send), by one of several numbers that try the same message.
    pub(crate) async fn try_to_send(&self, letter: Letter<'_>, waited: &mut Waited) -> Result<Acknowledged, NotSent> {
        let Letter { reference, to, text } = letter;
        self.core.send(Addressed { reference, number: digits(to.e164()), text }, waited).await
    }

    /// Whether the number has written with somebody before.
    pub async fn knows(&self, to: &Phone) -> bool {
        self.core.account(digits(to.e164())).await.is_some()
    }
}

impl Core {
    pub(super) async fn send(
        self: &Arc<Self>,
        letter: Addressed<'_>,
        waited: &mut Waited,
    ) -> Result<Acknowledged, NotSent> {
        self.is_ready()?;
        let number = letter.number;
        let known = self.account(number).await;
        let recipient = if known.is_some() { Recipient::Known } else { Recipient::Stranger };
        let (mut counted, jitter) = self.count(recipient)?;
        // Whom it has written with has WhatsApp: few numbers may be looked up.
        let found = if known.is_some() { known } else { self.look_up_account(number).await? };
        let Some(account) = found else {
            let detail = "nobody has WhatsApp under this number".to_owned();
            return Err(SendError::Refused { reason: DeliveryFailure::InvalidRecipient, detail }.into());
        };
        sleep(waited.waits(jitter).unsigned_abs()).await;
        let answer = self.hand_over(letter, account.digits(number), &mut counted.out).await?;
        match answer {
            Answer::Reached(reached) => {
                self.met(number, &account);
                let provider_id = Some(message_id(letter.reference.delivery));
                Ok(Acknowledged { provider_id, reached, cost: None })
            }
            Answer::Refused(429) => Err(away(LATER, TOO_MUCH).into()),
            Answer::Refused(code) => {
                // It is this number that may not.
                let for_others = matches!(code, 463 | 475);
                let what = match code {
                    463 => "the number is locked out of writing to strangers",
                    475 => "the number has begun too many new chats",
                    _ => "the message was refused",
                };
                let detail = format!("{what} ({code})");
                Err(NotSent { error: SendError::Refused { reason: DeliveryFailure::Rejected, detail }, for_others })
            }
        }
    }

    /// Whether anything can go out.
    fn is_ready(&self) -> Result<(), SendError> {
        if !self.right.holds() {
            return Err(away(SOON, "the session is another process's"));
        }
        if !self.online.borrow().up {
            return Err(away(SOON, &format!("the session is {}", self.status.borrow().name())));
        }
        Ok(())
    }

    fn held(&self, held: Held) -> SendError {
        let after = held.until.duration_since(self.now()).max(SignedDuration::from_secs(1));
        away(after, &format!("the number may not send now: {}", held.reason.as_str()))
    }

    /// The account of somebody that the number has written with before. Where that cannot be read they are a stranger.
    async fn account(&self, number: &str) -> Option<Account> {
        let name = {
            let sender = lock(&self.sender);
            let name = sender.name(number);
            if let Some(account) = sender.account(name) {
                return Some(account.clone());
            }
            name
        };
        let noted = self.live()?.state.read_note(&name.name()).await.ok()??;
        let account = Account::from_note(&noted);
        lock(&self.sender).know(name, &account);
        Some(account)
    }

    /// The number has written with somebody.
    pub(super) fn met(&self, number: &str, account: &Account) {
        {
            let mut sender = lock(&self.sender);
            let name = sender.name(number);
            sender.meet(name, account);
        }
        self.todo(Todo::Note);
    }

    /// Counts a message, and says how long it waits.
    fn count(self: &Arc<Self>, to: Recipient) -> Result<(Counted, SignedDuration), SendError> {
        let mut dice = [0; 2];
        self.parts.entropy.fill(&mut dice);
        let at = self.now();
        let mut sender = lock(&self.sender);
        let allowance = &self.parts.settings.allowance;
        let jitter = sender.health().jitter(allowance, to, at, u16::from_be_bytes(dice));
        let admitted = sender.admit(allowance, to, at);
        drop(sender);
        admitted.map_err(|held| self.held(held))?;
        self.fares_otherwise();
        Ok((Counted { core: Arc::clone(self), to, at, out: false }, jitter))
    }

    /// The account under a number, as WhatsApp says; none where nobody has it.
    async fn look_up_account(&self, number: &str) -> Result<Option<Account>, SendError> {
        let asked = self.directory.account(number, || async {
            let live = self.live().ok_or(Refusal::NoAnswer)?;
            let jids = [Jid::pn(number)];
            let contacts = live.client.contacts();
            let looked_up = timeout(self.parts.settings.patience.look_up, contacts.is_on_whatsapp(&jids)).await;
            match looked_up.map_err(|_| Refusal::NoAnswer)? {
                Ok(found) => Ok(found.first().filter(|found| found.is_registered).map(|found| {
                    let by_number =
                        [Some(&found.jid), found.pn_jid.as_ref()].into_iter().flatten().find(|jid| jid.is_pn());
                    by_number.map_or_else(|| number.to_owned(), |jid| jid.user.to_string())
                })),
                Err(error) => Err(match error.server_rejection() {
                    Some(rejection) if rejection.code == 429 => Refusal::TooMuch(rejection.backoff),
                    _ => Refusal::NoAnswer,
                }),
            }
        });
        let found = asked.await.map_err(|unknown| match unknown {
            Unknown::TooMuch(until) => {
                let after = until.duration_since(self.now()).max(SignedDuration::from_secs(1));
                away(after, "too many numbers were looked up")
            }
            Unknown::NoAnswer => away(SOON, "WhatsApp does not say whether the number has WhatsApp"),
        })?;
        Ok(found.map(|digits| Account::of(number, &digits)))
    }

    /// Hands a message over to an account, and waits for the answer; `out` says whether it may have left.
    async fn hand_over(&self, letter: Addressed<'_>, account: &str, out: &mut bool) -> Result<Answer, SendError> {
        let id = message_id(letter.reference.delivery);
        let mut waiting = self.sent.expect(&id, letter.reference);
        lock(&self.sender).sent(id.clone(), letter.reference);
        let deadline = Instant::now() + self.parts.settings.patience.send;
        let mut online = self.online.subscribe();
        loop {
            let login = tokio::select! {
                up = timeout_at(deadline, online.wait_for(|online| online.up)) => match up {
                    Ok(Ok(online)) => online.login,
                    _ => return Err(ended(*out, "the connection broke, and did not come back in time")),
                },
                () = self.right.over() => return Err(ended(*out, "the session is another process's")),
            };
            let Some(live) = self.live().filter(|_| self.right.holds()) else {
                return Err(ended(*out, "the session has ended"));
            };
            let before = std::mem::replace(out, true);
            let within = deadline.min(Instant::now() + self.parts.settings.patience.hand_over);
            let (client, account) = (Arc::clone(&live.client), account.to_owned());
            let (text, own_id) = (letter.text.to_owned(), id.clone());
            // On its own: whoever gives up waiting must not cut the client off between encrypting and keeping the keys.
            let handing = async move { timeout_at(within, deliver(&client, &account, &text, &own_id)).await };
            let mut handing = tokio::spawn(handing);
            tokio::select! {
                // The server may be faster than the call that handed the message over.
                answer = waiting.answer() => return answer.ok_or_else(|| unknown(FORGOTTEN)),
                handed = &mut handing => match handed.map_err(|_| unknown("the client failed"))? {
                    Ok(Ok(())) => {}
                    // It is under way in the client, somewhere.
                    Err(_) if still(&online.borrow(), login) || Instant::now() >= deadline => {
                        return Err(unknown("the message was not handed over in time"));
                    }
                    Err(_) => {}
                    Ok(Err(NotHanded::Offline { may_have_left })) => {
                        *out = before || may_have_left;
                        if live.client.is_connected() && still(&online.borrow(), login) {
                            return Err(ended(*out, "the connection does not take it"));
                        }
                        self.login_is_over(login);
                    }
                    Ok(Err(NotHanded::TooMuch)) => {
                        *out = before;
                        lock(&self.sender).refused(429, self.now());
                        self.fares_otherwise();
                        return Err(if before { unknown(TOO_MUCH) } else { away(LATER, TOO_MUCH) });
                    }
                    Ok(Err(NotHanded::Failed)) if before => {
                        return Err(unknown("the message could not be made ready to be sent again"));
                    }
                    Ok(Err(NotHanded::Failed)) => {
                        *out = false;
                        let detail = "the message could not be made ready".to_owned();
                        return Err(SendError::Later { after: SOON, detail });
                    }
                },
            }
            tokio::select! {
                answer = waiting.answer() => return answer.ok_or_else(|| unknown(FORGOTTEN)),
                over = timeout_at(deadline, online.wait_for(|online| !still(online, login))) => if over.is_err() {
                    return Err(unknown("WhatsApp did not acknowledge in time"));
                },
            }
        }
    }
}

/// It ended without an answer: unknown, if the message may have left.
fn ended(out: bool, detail: &str) -> SendError {
    if out { unknown(detail) } else { away(SOON, detail) }
}

fn still(online: &super::Online, login: u64) -> bool {
    online.up && online.login == login
}

/// Why the client did not hand a message over.
enum NotHanded {
    /// There is no connection, or it broke.
    Offline { may_have_left: bool },
    /// WhatsApp was asked too much, as for keys of the recipient.
    TooMuch,
    /// It could not be encrypted, or made ready otherwise: nothing left.
    Failed,
}

async fn deliver(client: &Client, account: &str, text: &str, id: &str) -> Result<(), NotHanded> {
    let options = SendOptions::default().with_message_id(id);
    let sent = client.send_message_with_options(Jid::pn(account), wa::Message::text(text), options).await;
    let Err(error) = sent else { return Ok(()) };
    if error.server_rejection().is_some_and(|rejection| rejection.code == 429) {
        return Err(NotHanded::TooMuch);
    }
    Err(match error {
        ClientError::NotLoggedIn => NotHanded::Offline { may_have_left: false },
        ClientError::Client(whatsapp_rust::ClientError::NotConnected) => NotHanded::Offline { may_have_left: false },
        ClientError::Client(_) => NotHanded::Offline { may_have_left: true },
        // A question that goes before the message: it broke with the connection, or was refused.
        ClientError::Iq(_) if !client.is_connected() => NotHanded::Offline { may_have_left: false },
        _ => NotHanded::Failed,
    })
}
