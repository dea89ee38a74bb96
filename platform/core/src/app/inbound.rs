//! Verifications that a message of the person's approves, and what is answered to whoever writes to a tenant's number.

use futures_util::future::try_join_all;
use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::authenticate::served;
use super::guard::{Judged, Judgement};
use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::code::Code;
use crate::domain::guard::Step;
use crate::domain::id::{TenantId, VerificationId};
use crate::domain::inbound::{InboundToken, MessageOutcome, TEST_NUMBER, deep_link};
use crate::domain::live_connection::LiveConnection;
use crate::domain::locale;
use crate::domain::mode::Mode;
use crate::domain::phone::Phone;
use crate::domain::template::{InboundSentence, render_inbound};
use crate::domain::vault::{Purpose, VaultError};
use crate::domain::verification::{Status, Verification};
use crate::ports::{ReplaceError, TenantAccount};

/// How often one person is answered about tokens in a day (UTC), so that two programs that answer each other come to an end.
const REPLIES_PER_DAY: u64 = 20;
/// What was written longer ago is not answered: all that came while a number was away comes at once.
const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// A message that somebody wrote to a tenant's number.
#[derive(Clone, Copy)]
pub struct WrittenMessage<'a> {
    /// To which of whose numbers.
    pub to: TenantAccount,
    /// The account that wrote: digits without `+`.
    pub from: &'a str,
    /// What it wrote.
    pub text: &'a str,
    /// When, as its provider says.
    pub sent_at: Timestamp,
}

/// What a person is to write, and where to.
pub struct MessageToWrite {
    /// The tenant's number, in E.164.
    pub number: String,
    /// What approves, wherever it stands in what they write.
    pub token: Zeroizing<String>,
    /// The whole text.
    pub text: Zeroizing<String>,
    /// Opens a chat with the number, with the text ready to be sent.
    pub link: Zeroizing<String>,
}

/// What came of a message that a test pretended somebody wrote.
#[derive(Debug)]
pub struct Simulated {
    /// Whether it approved the verification.
    pub approved: bool,
    /// What the person would be answered.
    pub reply: Option<String>,
    /// The verification afterwards.
    pub verification: Verification,
}

impl App {
    /// A message that somebody wrote to a tenant's number, and what to answer them, if anything. It may come more than
    /// once. Of any number of messages with a token at most one approves.
    ///
    /// # Errors
    /// [`Refusal::Maintenance`], [`Refusal::Store`]: it was not taken in, and is to come again.
    pub async fn take_in_message(&self, written: WrittenMessage<'_>) -> Result<Option<String>, Refusal> {
        let WrittenMessage { to, from, text, sent_at } = written;
        let Some(tenant) = self.tenant_of(to.tenant).await? else { return Ok(None) };
        if served(&tenant).is_err() {
            return Ok(None);
        }
        let Ok(from) = Phone::of_account(from) else {
            tracing::debug!(connection = %to.connection, "somebody wrote from a number that no numbering plan knows");
            return Ok(None);
        };
        let from = Address::Phone(from);
        let is_fresh = self.now().duration_since(sent_at) < ANSWERED_WITHIN;
        let mut taken = None;
        for token in InboundToken::find(text) {
            let of_token = self.take_token(to.tenant, Mode::Live, &token, &from).await?;
            let Some((outcome, verification)) = of_token else { continue };
            let approves = outcome == MessageOutcome::Approved;
            // Beside one that is over there may be another that is not: people quote what they wrote before.
            if approves || taken.is_none() {
                taken = Some((outcome, verification));
            }
            if approves {
                break;
            }
        }
        if let Some((outcome, verification)) = taken {
            let Some(reply) = self.reply(outcome, &verification, &from) else { return Ok(None) };
            let answers = is_fresh && self.take_reply(to, "token", &from, REPLIES_PER_DAY).await?;
            return Ok(answers.then_some(reply));
        }
        match self.auto_reply(to).await? {
            Some(reply) if is_fresh && self.take_reply(to, "anything", &from, 1).await? => Ok(Some(reply)),
            _ => Ok(None),
        }
    }

    /// What a connection answers whatever else people write.
    async fn auto_reply(&self, to: TenantAccount) -> Result<Option<String>, Refusal> {
        let all = self.live_connections_of(to.tenant).await?;
        Ok(all.iter().find(|one| one.id == to.connection).and_then(|one| one.auto_reply.clone()))
    }

    /// Pretends that somebody wrote to the number of a verification that was started with a test key. Without a text it is
    /// the one that the person is asked to write.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Store`].
    pub async fn simulate_message(
        &self,
        caller: &ApiCaller,
        id: VerificationId,
        from: &str,
        text: Option<&str>,
    ) -> Result<Simulated, Refusal> {
        let verification = self.find_verification(caller, id).await?;
        if verification.mode != Mode::Test || verification.inbound.is_none() {
            let words = "is no verification with `method: \"inbound\"` that was started with a test key: with others \
                         nobody pretends to have written";
            return Err(Refusal::field("id", words));
        }
        let from = Phone::parse(from).map_err(|error| Refusal::field("from", error.to_string()))?;
        let from = Address::Phone(from);
        let asked = self.message_to_write(&verification)?;
        let text = text.or(asked.as_ref().map(|asked| asked.text.as_str())).unwrap_or_default();
        // Others may be of a service that the key is not for.
        for token in InboundToken::find(text).into_iter().filter(|token| token.verification() == id) {
            let Some((outcome, verification)) = self.take_token(caller.tenant.id, Mode::Test, &token, &from).await?
            else {
                continue;
            };
            let reply = self.reply(outcome, &verification, &from);
            return Ok(Simulated { approved: outcome == MessageOutcome::Approved, reply, verification });
        }
        Ok(Simulated { approved: false, reply: None, verification })
    }

    /// Takes in a token that came from somebody; nothing where it is none of the tenant's.
    async fn take_token(
        &self,
        tenant: TenantId,
        mode: Mode,
        token: &InboundToken,
        from: &Address,
    ) -> Result<Option<(MessageOutcome, Verification)>, Refusal> {
        let (id, store) = (token.verification(), self.ports.store.tenant(tenant));
        let is_right = |hash: &_| self.ports.vault.code_matches(&id.to_bytes(), &token.secret(), hash);
        // Each round that is lost is somebody else's change: another message with the token, an end. Those are bounded.
        loop {
            let found = store.find_verification(id).await?;
            let of_messages = |found: &Verification| found.inbound.is_some() && found.mode == mode;
            let Some(mut verification) = found.filter(of_messages) else { return Ok(None) };
            let before = (verification.status, verification.other_numbers);
            let sender = self.store_address(tenant, &id.to_bytes(), from, &*self.ports.entropy);
            let named = verification.address.is_some();
            let unheard = verification.clone();
            let mut outcome = verification.take_message(is_right, sender, self.now());
            if outcome == MessageOutcome::Wrong {
                return Ok(None);
            }
            if before == (verification.status, verification.other_numbers) {
                return Ok(Some((outcome, verification)));
            }
            self.may_change().await?;
            // The guard looks at a number when it is known: at the start, or now.
            let guard = match outcome {
                MessageOutcome::Approved if !named => Some(self.guard_of(tenant, verification.service).await?),
                _ => None,
            };
            let mut judgement = match &guard {
                Some(guard) => self.judge(guard, Judged::by_its_number(&verification), None, Step::Start).await?,
                None => Judgement::default(),
            };
            let mut refund = false;
            if let (Some(guard), Some(note)) = (&guard, judgement.blocked().cloned()) {
                // Without the number: it is nobody's that was verified.
                verification = unheard;
                verification.block(self.now());
                outcome = MessageOutcome::Over;
                // It is stored already. Beyond what is kept of a day it stays counted, so that the quota is an end to it.
                refund = self.keeps_blocked(guard, &note, &mut judgement).await?;
                verification.counted.refunded = refund;
            }
            judgement.notes.iter().for_each(|note| verification.note(note.clone()));
            let replaced = store.replace(&mut verification, refund).await;
            self.changes.tell(id);
            match replaced {
                Ok(()) => {
                    self.guard.note_late(judgement.notes);
                    return Ok(Some((outcome, verification)));
                }
                Err(ReplaceError::Conflict) => self.judged_in_vain(&judgement),
                Err(ReplaceError::Store(error)) => {
                    self.judged_in_vain(&judgement);
                    return Err(error.into());
                }
            }
        }
    }

    /// What whoever wrote is answered, where the service answers.
    fn reply(&self, outcome: MessageOutcome, verification: &Verification, from: &Address) -> Option<String> {
        let terms = verification.inbound.as_ref().filter(|terms| terms.replies)?;
        let is_theirs = || {
            let index = self.ports.vault.index(verification.tenant, from);
            verification.address.as_ref().is_some_and(|address| address.index == index)
        };
        let sentence = match outcome {
            MessageOutcome::Approved => InboundSentence::Done,
            // They sent it twice, or it came twice.
            MessageOutcome::Over if verification.status == Status::Approved && is_theirs() => InboundSentence::Done,
            MessageOutcome::Over => InboundSentence::Over,
            MessageOutcome::OtherNumber => InboundSentence::Other,
            MessageOutcome::Wrong => return None,
        };
        let policy = &verification.policy;
        let locale = match terms.speaks_as_sender {
            true => locale::resolve(None, from.region(), &policy.locale),
            false => policy.locale,
        };
        Some(render_inbound(&locale, &policy.brand, sentence))
    }

    /// What the person is to write, while that is of use; none where they are sent something. Whoever has it and writes from
    /// the number that is to be verified approves.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn message_to_write(&self, verification: &Verification) -> Result<Option<MessageToWrite>, Refusal> {
        let (Some(terms), Some(stored)) = (&verification.inbound, &verification.code) else { return Ok(None) };
        let (vault, owner) = (&self.ports.vault, verification.id.to_bytes());
        let number = vault.open(Purpose::OwnNumber, &owner, &terms.number)?.to_string();
        let secret = Code::unsealed(vault.open(Purpose::Inbound, &owner, &stored.sealed)?);
        let token = InboundToken::with_secret(verification.id, &secret).ok_or(VaultError::Damaged)?.reveal();
        let policy = &verification.policy;
        let sentence = render_inbound(&policy.locale, &policy.brand, InboundSentence::Confirm);
        let text = Zeroizing::new(format!("{sentence}\n{}", *token));
        let link = deep_link(&number, &text);
        Ok(Some(MessageToWrite { number, token, text, link }))
    }

    /// The token that the person is to write, for a test key, while it is of use.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn test_token(&self, verification: &Verification) -> Result<Option<Zeroizing<String>>, Refusal> {
        if verification.mode != Mode::Test {
            return Ok(None);
        }
        Ok(self.message_to_write(verification)?.map(|asked| asked.token))
    }

    /// The number that the person is to write to, in E.164; none where they are sent something.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn number_to_write_to(&self, verification: &Verification) -> Result<Option<String>, Refusal> {
        let Some(terms) = &verification.inbound else { return Ok(None) };
        let number = self.ports.vault.open(Purpose::OwnNumber, &verification.id.to_bytes(), &terms.number)?;
        Ok(Some(number.to_string()))
    }

    /// A number of the tenant's at which messages arrive now, one of them by chance; a made up one for test keys.
    ///
    /// # Errors
    /// [`Refusal::NoNumber`], [`Refusal::Store`].
    pub(super) async fn own_number(&self, caller: &ApiCaller) -> Result<String, Refusal> {
        if caller.mode() == Mode::Test {
            return Ok(TEST_NUMBER.to_owned());
        }
        let all = self.live_connections_of(caller.tenant.id).await?;
        let kept = all.iter().filter(|one| one.connects() && self.keeps_accounts(&one.channel));
        let numbers = try_join_all(kept.map(|one| self.connected_number(one))).await?;
        let numbers: Vec<String> = numbers.into_iter().flatten().collect();
        let mut dice = [0; 4];
        self.ports.entropy.fill(&mut dice);
        let at = usize::try_from(u32::from_be_bytes(dice)).unwrap_or_default().checked_rem(numbers.len());
        at.and_then(|at| numbers.into_iter().nth(at)).ok_or(Refusal::NoNumber)
    }

    /// The number of a connection, if it is connected.
    async fn connected_number(&self, connection: &LiveConnection) -> Result<Option<String>, Refusal> {
        let seen = self.seen_live(connection.clone()).await?;
        let standing = seen.standing.filter(|standing| seen.kept && standing.is_connected());
        Ok(standing.and_then(|standing| standing.number).map(|number| format!("+{}", number.digits())))
    }
}
