//! A person's second factor: an authenticator app, and recovery codes for when it is lost.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::code::Code;
use super::id::{ChallengeId, UserId};
use super::opaque::Opaque;
use super::recovery_code;
use super::session::Transport;
use super::totp::TotpSecret;
use super::user::User;
use super::vault::{CodeHash, Purpose, Sealed, Vault, VaultError};
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// Wrong codes of the app in a row before the next has to wait.
const FREE_FAILURES: u32 = 5;
/// The first wait; doubled with each further wrong code. Source: NIST SP 800-63B-4: 30 seconds to an hour.
const DELAY_MIN: SignedDuration = SignedDuration::from_secs(30);
/// The longest wait.
const DELAY_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Wrong codes in a row after which only a recovery code is taken. Source: NIST SP 800-63B-4, 3.2.2: at most
/// 100 for an authenticator.
const FAILURES_MAX: u32 = 100;
/// How long a person has between the first factor and the second: five minutes.
const CHALLENGE_LASTS: SignedDuration = SignedDuration::from_mins(5);
/// Wrong codes that one challenge takes.
const CHALLENGE_TRIES_MAX: u32 = 5;

/// What is kept of it. A person has one at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// Whose it is.
    pub user: UserId,
    /// What the app shares with us.
    pub secret: Sealed,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// Since when it is asked for; none until a first code was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_since: Option<Timestamp>,
    /// The step of the newest code that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step: Option<u64>,
    /// Those recovery codes that were not used.
    #[serde(default)]
    pub recovery_codes: Vec<CodeHash>,
    /// Wrong codes of the app since the last right one.
    #[serde(default)]
    pub failures: u32,
    /// When the next code of the app may be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl Entity for SecondFactor {
    const KIND: &'static str = "second_factor";

    fn id(&self) -> [u8; 16] {
        self.user.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }
}

/// What a right code was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// One of the app.
    Totp,
    /// A recovery code, which is used up now.
    RecoveryCode,
}

/// What a guess was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was right.
    Right(Proof),
    /// It was wrong.
    Wrong,
    /// It was not looked at: too many codes of the app were wrong. Recovery codes are taken.
    Wait {
        /// From when on they are looked at again; none where only a recovery code helps.
        until: Option<Timestamp>,
    },
}

impl SecondFactor {
    /// One that is begun: it is not asked for until a first code was right.
    pub fn begin(user: UserId, secret: &TotpSecret, now: Timestamp, vault: &Vault, entropy: &dyn Entropy) -> Self {
        Self {
            user,
            secret: vault.seal(Purpose::SecondFactor, &user.to_bytes(), &secret.to_base32(), entropy),
            begun_at: now,
            active_since: None,
            last_step: None,
            recovery_codes: Vec::new(),
            failures: 0,
            retry_at: None,
        }
    }

    /// Whether it is asked for.
    pub fn is_active(&self) -> bool {
        self.active_since.is_some()
    }

    /// Replaces all recovery codes; they are returned for the only time.
    pub fn draw_recovery_codes(&mut self, vault: &Vault, entropy: &dyn Entropy) -> Vec<Code> {
        let codes = recovery_code::draw(entropy);
        self.recovery_codes = codes.iter().map(|code| recovery_code::hash(self.user, code, vault)).collect();
        codes
    }

    /// Looks at a guess, and remembers what came of it: whoever calls it has to keep the result.
    ///
    /// Wrong codes of the app make the next one wait, longer each time. That holds up whoever guesses, and the
    /// owner too while they do; so a recovery code never has to wait: it cannot be guessed.
    ///
    /// # Errors
    /// [`VaultError`] when the secret cannot be opened.
    pub fn attempt(&mut self, guess: &Code, now: Timestamp, vault: &Vault) -> Result<Verdict, VaultError> {
        if recovery_code::has_form(guess) {
            let Some(place) = recovery_code::find(self.user, guess, &self.recovery_codes, vault) else {
                return Ok(Verdict::Wrong);
            };
            self.recovery_codes.remove(place);
            self.forgive();
            return Ok(Verdict::Right(Proof::RecoveryCode));
        }
        if self.failures >= FAILURES_MAX {
            return Ok(Verdict::Wait { until: None });
        }
        if let Some(until) = self.retry_at.filter(|until| *until > now) {
            return Ok(Verdict::Wait { until: Some(until) });
        }
        let secret = vault.open(Purpose::SecondFactor, &self.user.to_bytes(), &self.secret)?;
        let secret = TotpSecret::from_base32(&secret).ok_or(VaultError::Damaged)?;
        let Some(step) = secret.step_of_code(guess, now, self.last_step) else {
            self.failures = self.failures.saturating_add(1);
            self.retry_at = delay(self.failures).map(|delay| now.saturating_add(delay).unwrap_or(Timestamp::MAX));
            return Ok(Verdict::Wrong);
        };
        self.last_step = Some(step);
        self.forgive();
        Ok(Verdict::Right(Proof::Totp))
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }
}

fn delay(failures: u32) -> Option<SignedDuration> {
    let doubled = failures.checked_sub(FREE_FAILURES)?;
    let delay = 2i32.checked_pow(doubled).and_then(|times| DELAY_MIN.checked_mul(times));
    Some(delay.map_or(DELAY_MAX, |delay| delay.min(DELAY_MAX)))
}

/// A sign-in whose first factor was right and whose second is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInChallenge {
    /// Its id.
    pub id: ChallengeId,
    /// What is kept of what names it to whoever may answer it.
    pub token_hash: String,
    /// Who signs in.
    pub user: UserId,
    /// The [`epoch`](super::user::User::epoch) of theirs in which the first factor was shown.
    #[serde(default)]
    pub epoch: u64,
    /// How the first factor was shown: `password`, or the name of an identity provider.
    pub first_factor: String,
    /// How the session's refresh token is to travel.
    pub transport: Transport,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// Wrong answers.
    #[serde(default)]
    pub failures: u32,
    /// When the next answer is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl Entity for SignInChallenge {
    const KIND: &'static str = "sign_in_challenge";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("token", &self.token_hash)]
    }

    /// It goes when it can no longer be answered.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

impl SignInChallenge {
    /// A new one, and what names it to whoever may answer it.
    pub fn pose(
        user: &User,
        first_factor: &str,
        transport: Transport,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, Opaque) {
        let token = Opaque::draw(entropy);
        let challenge = Self {
            id: ChallengeId::new(now, entropy),
            token_hash: token.hash(),
            user: user.id,
            epoch: user.epoch,
            first_factor: first_factor.to_owned(),
            transport,
            expires_at: now.saturating_add(CHALLENGE_LASTS).unwrap_or(Timestamp::MAX),
            failures: 0,
            retry_at: None,
        };
        (challenge, token)
    }

    /// Whether it can be answered.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.failures < CHALLENGE_TRIES_MAX
    }

    /// Counts a wrong answer: the next one waits a second, then two, four and eight.
    pub fn fail(&mut self, now: Timestamp) {
        let seconds = 1i64.checked_shl(self.failures).unwrap_or(i64::MAX).min(3600);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.checked_add(SignedDuration::from_secs(seconds)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::AccountEmail;
    use crate::domain::vault::MasterKey;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            for (n, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::try_from(n % 200).unwrap();
            }
        }
    }

    /// The RFC's secret, and its code for 1,111,111,109 seconds after the epoch.
    const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const CODE: &str = "081804";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_111_111_109 + second).unwrap()
    }

    fn factor() -> (SecondFactor, Vault) {
        let vault = Vault::new(&[MasterKey { id: 1, bytes: [9; 32].into() }]).unwrap();
        let secret = TotpSecret::from_base32(BASE32).unwrap();
        (SecondFactor::begin(UserId::from_bytes([1; 16]), &secret, at(0), &vault, &Fixed), vault)
    }

    #[test]
    fn a_code_of_the_app_is_right_once() {
        let (mut factor, vault) = factor();
        let code = Code::typed(CODE);
        assert_eq!(factor.attempt(&code, at(0), &vault).unwrap(), Verdict::Right(Proof::Totp));
        assert_eq!(factor.attempt(&code, at(1), &vault).unwrap(), Verdict::Wrong);
    }

    #[test]
    fn a_recovery_code_is_right_once_and_never_waits() {
        let (mut factor, vault) = factor();
        let codes = factor.draw_recovery_codes(&vault, &Fixed);
        factor.failures = FAILURES_MAX;
        assert_eq!(factor.attempt(&Code::typed(CODE), at(0), &vault).unwrap(), Verdict::Wait { until: None });
        assert_eq!(factor.attempt(&codes[3], at(0), &vault).unwrap(), Verdict::Right(Proof::RecoveryCode));
        // All ten are alike here, since the dice are: nine are left.
        assert_eq!(factor.recovery_codes.len(), recovery_code::COUNT - 1);
        assert_eq!(factor.attempt(&Code::typed(CODE), at(0), &vault).unwrap(), Verdict::Right(Proof::Totp));
    }

    #[test]
    fn wrong_codes_make_the_next_one_wait_longer_and_longer() {
        let (mut factor, vault) = factor();
        let wrong = Code::typed("000000");
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..FAILURES_MAX {
            while let Verdict::Wait { until } = factor.attempt(&wrong, at(now), &vault).unwrap() {
                let until = until.unwrap().duration_since(at(now)).as_secs();
                waits.push(until);
                now += until;
            }
        }
        assert_eq!(waits[..8], [30, 60, 120, 240, 480, 960, 1920, 3600]);
        assert!(waits[8..].iter().all(|wait| *wait == 3600));
        assert_eq!(factor.attempt(&wrong, at(now + 86_400), &vault).unwrap(), Verdict::Wait { until: None });
    }

    #[test]
    fn a_challenge_ends_with_its_time_and_with_its_tries() {
        let (_, vault) = factor();
        let email = AccountEmail::parse("ada@example.com").unwrap();
        let ada = User::new(UserId::from_bytes([1; 16]), &email, "", at(0), &vault, &Fixed);
        let (mut challenge, _) = SignInChallenge::pose(&ada, "password", Transport::Cookie, at(0), &Fixed);
        assert!(challenge.is_open(at(299)) && !challenge.is_open(at(300)));
        let mut waits = Vec::new();
        while challenge.is_open(at(0)) {
            challenge.fail(at(0));
            waits.push(challenge.retry_at.unwrap().duration_since(at(0)).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16]);
    }
}
