//! What the platform writes to people.

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use super::{App, IdempotencyKey, Refusal, SendMessage, Whence};
use crate::domain::id::LetterId;
use crate::domain::invitation::{BY_TOKEN, Invitation};
use crate::domain::letter::Letter;
use crate::domain::user::User;
use crate::ports::{Change, Entity as _, EntityList, Owner, StoreError, Stored};

/// Letters that are looked at in one round.
const BATCH: usize = 16;
/// Most letters that are counted: whoever looks after the platform is alarmed by far fewer.
const COUNTED_MAX: usize = 1_000;

/// Letters that nobody has sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingLetters {
    /// How many, 1,000 at most.
    pub count: usize,
    /// Since when the oldest waits; nothing where none does.
    pub oldest: SignedDuration,
}

impl App {
    /// A letter to an address, to be committed with what it tells of and [posted](Self::post) then.
    pub(super) fn letter(&self, to: &str, content: &str) -> Letter {
        Letter::new(to, content, self.now(), &self.ports.vault, &*self.ports.entropy)
    }

    /// The same to a person; none where their address cannot be read, which is no reason not to do what they ask.
    pub(super) fn letter_to(&self, user: &User, content: &str) -> Option<Letter> {
        match user.address(&self.ports.vault) {
            Ok(address) => Some(self.letter(&address, content)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(user = %user.id, error, "a person could not be told of a change to their account");
                None
            }
        }
    }

    /// Sends letters that were committed a moment ago. What cannot go out now the sweep sends later.
    pub(super) async fn post(&self, letters: impl IntoIterator<Item = Letter> + Send, whence: &Whence) {
        for letter in letters.into_iter().collect::<Vec<_>>() {
            if let Err(error) = self.send_letter(&letter, whence).await {
                say_unsent(letter.id, &error);
            }
        }
    }

    /// The letters that wait: where they grow old, nothing that the platform writes goes out.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn waiting_letters(&self) -> Result<WaitingLetters, Refusal> {
        let list = EntityList { limit: COUNTED_MAX, ..EntityList::of(Owner::Platform) };
        let rows = self.ports.store.list_entities(Letter::KIND, &list).await?;
        let count = rows.len();
        // In the order of their ids, which is that of time. One that cannot be read is counted all the same.
        let oldest = rows.into_iter().find_map(|row| Stored::<Letter>::read(row).ok());
        let oldest = oldest.map_or(SignedDuration::ZERO, |letter| self.now().duration_since(letter.at));
        Ok(WaitingLetters { count, oldest })
    }

    /// Sends what nobody sent who stored it; says how many went out.
    ///
    /// Several nodes may do it at once, and any of them may stop at any moment: what is sent of a letter has its
    /// idempotency key, so it is one message.
    pub(super) async fn send_letters(&self) -> Result<usize, Refusal> {
        let mut sent = 0;
        for mut letter in self.due::<Letter>(BATCH).await? {
            let name = letter.id;
            if letter.is_over(self.now()) {
                tracing::error!(letter = %name, "a letter could not be sent for a day, and is given up");
                self.is_made(vec![Change::delete(&letter)]).await?;
                continue;
            }
            let error = match self.send_letter(&letter, &Whence::default()).await {
                Ok(went) => {
                    sent += usize::from(went);
                    continue;
                }
                // The store is away, or writes no messages: the next round tries again, and the sweep goes on.
                Err(
                    error @ Refusal::Store(StoreError::Full(_) | StoreError::ReadOnly(_) | StoreError::Unavailable(_)),
                ) => {
                    say_unsent(name, &error);
                    break;
                }
                Err(error) => error,
            };
            say_unsent(name, &error);
            letter.try_again(self.now());
            // Where it is not made, another node did the same.
            self.is_made(vec![Change::replace(&letter)]).await?;
        }
        Ok(sent)
    }

    /// Sends it, if what it tells of still stands; says whether it went out. The platform writes it: a tenant's own
    /// messages are the tenant's to read.
    async fn send_letter(&self, letter: &Letter, whence: &Whence) -> Result<bool, Refusal> {
        let stands = self.still_stands(letter).await?;
        if stands {
            let (to, content) = letter.open(&self.ports.vault)?;
            let key = format!("letter {}", letter.id);
            let fingerprint = Sha256::digest(&key).into();
            let idempotency = Some(IdempotencyKey { key, fingerprint });
            let message = SendMessage { to, content, idempotency, ..SendMessage::default() };
            self.send_message(&self.house(whence).await?, message).await?;
        } else {
            tracing::info!(letter = %letter.id, "a letter is not sent: its invitation is not open any more");
        }
        let stored = self.find::<Letter>(Owner::Platform, letter.id()).await?;
        // Where it is not, another node did the same.
        self.is_made(stored.iter().map(Change::delete).collect()).await?;
        Ok(stands)
    }

    /// Whether what a letter tells of is still so: an invitation that was taken back, accepted, or sent again with
    /// another token is nothing that anybody can do anything with.
    async fn still_stands(&self, letter: &Letter) -> Result<bool, Refusal> {
        let Some(token) = letter.invitation else { return Ok(true) };
        let invitation = self.find_by::<Invitation>(BY_TOKEN, token).await?;
        Ok(invitation.is_some_and(|invitation| invitation.is_open(self.now())))
    }
}

fn say_unsent(letter: LetterId, error: &Refusal) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(%letter, error, "a letter could not be sent, and is tried again");
}
