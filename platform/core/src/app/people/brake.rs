use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;

use serde_json::json;
use subtle::ConstantTimeEq;

use super::super::commit::TRIES as TRIES_OF_ALL;
use super::super::{App, Guessed, Refusal};
use super::{SignedIn, Whence};
use crate::domain::Timestamp;
use crate::domain::audit::{By, Deed};
use crate::domain::id::UserId;
use crate::domain::login_brake::{LoginBrake, Place};
use crate::domain::rate::Rate;
use crate::domain::user::User;
use crate::domain::vault::AddressIndex;
use crate::ports::{Bucket, Change, CommitError, HashPlace, Hold, Owner};

/// How often a count is tried that others change at the same moment.
const TRIES: usize = 16;
/// Changes of a person that are lines of the platform's log, which all sign-ins wait for and nothing is deleted from:
/// more than anybody makes by hand, and too few to hold the others up.
const CHANGES: Rate = Rate { per_second: 1, burst: 20 };
const DEVICE_PREFIX: &str = "wd_";
const DEVICE_SIZE: usize = 16;

/// A device from which somebody has signed in to an account.
pub(super) type Device = [u8; DEVICE_SIZE];

/// Where guesses at a password are counted.
#[derive(Debug, Clone)]
pub(super) struct Brakes {
    /// What is guessed at.
    guessed: Guessed,
    account: AddressIndex,
    places: Vec<([u8; 16], Place)>,
    /// What says that a guess is under way which is not counted yet.
    under_way: Option<Hold>,
}

impl Brakes {
    /// As the limiter knows them.
    fn names(&self) -> Vec<String> {
        self.places.iter().map(|(id, _)| format!("guess:{:032x}", u128::from_be_bytes(*id))).collect()
    }
}

/// What shares a brake: an IPv4 address, or an IPv6 /64, which one customer has whole.
pub(super) fn bucket(ip: Option<IpAddr>) -> Vec<u8> {
    match ip {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.octets().to_vec(),
            None => Ipv6Addr::octets(&ip)[..8].to_vec(),
        },
        None => Vec::new(),
    }
}

/// What a right guess does to a count, and whether it is forgotten.
fn right(brake: &mut LoginBrake, place: Place) -> bool {
    brake.take_back();
    place == Place::Here
}

impl App {
    /// The brakes for an account: its device's own, or else those of the address and of everywhere.
    pub(super) fn brakes(&self, account: &AddressIndex, device: Option<&Device>, whence: &Whence) -> Brakes {
        let vault = &self.ports.vault;
        let account_bytes = account.as_bytes();
        if let Some(device) = device {
            let here = (vault.veil("brake device", &[account_bytes, device]), Place::Here);
            return Brakes { guessed: Guessed::Password, account: *account, places: vec![here], under_way: None };
        }
        let places = vec![
            (vault.veil("brake ip", &[account_bytes, &bucket(whence.ip)]), Place::Here),
            (vault.veil("brake", &[account_bytes]), Place::Everywhere),
        ];
        Brakes { guessed: Guessed::Password, account: *account, places, under_way: None }
    }

    /// The brakes for somebody who is signed in: those of the session. What others guess at does not hold them up,
    /// and a session gets nobody another fifty guesses, since it takes the password to have one.
    pub(super) fn session_brakes(&self, person: &SignedIn) -> Brakes {
        let here = (self.ports.vault.veil("brake session", &[&person.session.id.to_bytes()]), Place::Here);
        let places = vec![here];
        Brakes { guessed: Guessed::InSession, account: person.user.email_key, places, under_way: None }
    }

    /// Whether one client signs in too often, whatever the accounts. Before anything is written.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub(super) async fn brake_client(&self, what: &str, rate: Rate, whence: &Whence) -> Result<(), Refusal> {
        let name = self.ports.vault.veil(what, &[&bucket(whence.ip)]);
        self.take_of("client", rate, format!("{what}:{:032x}", u128::from_be_bytes(name))).await
    }

    /// Whether a person changes too often what the platform's log tells of. Where they prove by a code that it is they, it
    /// comes before: one that was right is used up.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub(in super::super) async fn brake_person(&self, user: UserId) -> Result<(), Refusal> {
        self.take_of("person", CHANGES, format!("changes:{user}")).await
    }

    /// A limiter that cannot be reached is no worse than none.
    async fn take_of(&self, policy: &'static str, rate: Rate, name: String) -> Result<(), Refusal> {
        let Ok(decisions) = self.ports.limiter.take(&[Bucket { name, rate }], self.now()).await else {
            return Ok(());
        };
        match decisions.first() {
            Some(decision) if !decision.allowed => Err(Refusal::Rate { policy, rate, decision: *decision }),
            _ => Ok(()),
        }
    }

    /// A place among those whose passwords are hashed.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub(super) fn hash_place(&self, whence: &Whence) -> Result<HashPlace, Refusal> {
        Ok(self.ports.passwords.place(&bucket(whence.ip))?)
    }

    /// A guess at a password begins: what is under way counts as wrong for all others until it is answered. Only a
    /// wrong one is written, so that a login is one commit. Where the limiter cannot be asked, it is counted in the
    /// store at once.
    ///
    /// It ends with [`guessed_wrong`](Self::guessed_wrong), or, after what follows from a right one was committed with
    /// what [`eased`](Self::eased) says, with [`let_go`](Self::let_go). Whoever calls this goes on to its end when
    /// their client hangs up, so it stays under way only where its node dies or the store takes nothing.
    ///
    /// # Errors
    /// [`Refusal::Braked`], [`Refusal::Busy`]; then the password must not be looked at.
    pub(super) async fn begin_guess(&self, brakes: &mut Brakes) -> Result<(), Refusal> {
        if self.guesses_unwritten.load(Ordering::Relaxed) {
            // Nothing is looked at that could not be counted.
            self.brake(brakes).await?;
            self.guesses_unwritten.store(false, Ordering::Relaxed);
            return Ok(());
        }
        let mut hold = Hold::default();
        self.ports.entropy.fill(&mut hold);
        brakes.under_way = Some(hold);
        // Before the counts are read: whoever lets go has written what was wrong.
        let Ok(others) = self.ports.limiter.hold(&brakes.names(), hold, self.now()).await else {
            // It may be noted all the same.
            self.let_go(brakes).await;
            brakes.under_way = None;
            return self.brake(brakes).await;
        };
        let admitted = self.admit(brakes, &others).await;
        if admitted.is_err() {
            self.let_go(brakes).await;
        }
        admitted
    }

    async fn admit(&self, brakes: &Brakes, others: &[u32]) -> Result<(), Refusal> {
        let now = self.now();
        for ((id, place), under_way) in brakes.places.iter().zip(others) {
            let found = self.find::<LoginBrake>(Owner::Platform, *id).await?.map(|stored| stored.entity);
            let brake = found.unwrap_or_else(|| LoginBrake::new(*id, *place, now));
            brake.admit(*under_way, now).map_err(|opens_at| Refusal::Braked { opens_at, guessed: brakes.guessed })?;
        }
        Ok(())
    }

    /// A guess was wrong: it is counted before anybody hears of it.
    ///
    /// # Errors
    /// [`Refusal::Busy`], [`Refusal::Store`]; then it must not be answered.
    pub(super) async fn guessed_wrong(&self, brakes: &Brakes) -> Result<(), Refusal> {
        if brakes.under_way.is_none() {
            return Ok(());
        }
        let add = |brake: &mut LoginBrake, now| {
            brake.add(now);
            Ok(())
        };
        // As often as others may be in the way, all of whom are under way.
        match self.count(brakes, TRIES_OF_ALL, add).await {
            Ok(()) => self.let_go(brakes).await,
            Err(refusal) => {
                self.guesses_unwritten.store(true, Ordering::Relaxed);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Nothing is under way any more.
    pub(super) async fn let_go(&self, brakes: &Brakes) {
        if let Some(hold) = brakes.under_way
            && let Err(error) = self.ports.limiter.let_go(&brakes.names(), hold).await
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "a guess stays under way for two minutes");
        }
    }

    /// Counts a guess as a wrong one before it is looked at.
    ///
    /// # Errors
    /// [`Refusal::Braked`], [`Refusal::Busy`]; then the password must not be looked at.
    pub(super) async fn brake(&self, brakes: &Brakes) -> Result<(), Refusal> {
        let guessed = brakes.guessed;
        self.count(brakes, TRIES, |brake, now| {
            brake.count(now).map_err(|opens_at| Refusal::Braked { opens_at, guessed })
        })
        .await
    }

    async fn count(
        &self,
        brakes: &Brakes,
        tries: usize,
        count: impl Fn(&mut LoginBrake, Timestamp) -> Result<(), Refusal> + Send + Sync,
    ) -> Result<(), Refusal> {
        for _ in 0..tries {
            let now = self.now();
            let mut changes = Vec::new();
            for (id, place) in &brakes.places {
                changes.push(match self.find::<LoginBrake>(Owner::Platform, *id).await? {
                    Some(mut brake) => {
                        count(&mut brake, now)?;
                        Change::replace(&brake)
                    }
                    None => {
                        let mut brake = LoginBrake::new(*id, *place, now);
                        brake.account = (*place == Place::Everywhere).then_some(brakes.account);
                        count(&mut brake, now)?;
                        Change::insert(&brake)
                    }
                });
            }
            match self.ports.store.commit(changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // So many guesses at one account at one moment are nobody's who mistyped.
        Err(Refusal::Busy)
    }

    /// The guess was right: what its place counted is forgotten, and everywhere's is taken back. Not
    /// forgotten there, or each login of the owner would give an attacker another fifty.
    pub(super) async fn ease(&self, brakes: &Brakes) -> Result<(), Refusal> {
        self.lighten(brakes, right).await
    }

    /// The same as changes of another commit, which is refused when somebody guesses at the same moment: over MongoDB
    /// each is a transaction that starts of verifications wait beside. One under way was not counted, so that nothing
    /// is taken back.
    pub(super) async fn eased(&self, brakes: Option<&Brakes>) -> Result<Vec<Change>, Refusal> {
        match brakes {
            Some(brakes) if brakes.under_way.is_some() => self.lightened(brakes, |_, place| place == Place::Here).await,
            Some(brakes) => self.lightened(brakes, right).await,
            None => Ok(Vec::new()),
        }
    }

    /// The guess was not looked at: it is as if it had not been made.
    pub(super) async fn uncount(&self, brakes: &Brakes) -> Result<(), Refusal> {
        if brakes.under_way.is_some() {
            self.let_go(brakes).await;
            return Ok(());
        }
        self.lighten(brakes, |brake, _| {
            brake.take_back();
            false
        })
        .await
    }

    /// The owner has proved the address: what was counted for the account from everywhere is forgotten, and
    /// what was counted at this address.
    pub(super) async fn forget_brakes(&self, brakes: &Brakes) -> Result<(), Refusal> {
        self.lighten(brakes, |_, _| true).await
    }

    async fn lighten(
        &self,
        brakes: &Brakes,
        forget: impl Fn(&mut LoginBrake, Place) -> bool + Send + Sync,
    ) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let changes = self.lightened(brakes, &forget).await?;
            match self.ports.store.commit(changes).await {
                Ok(()) => break,
                Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Counts as they become; those that `forget` says yes to, and those of nothing, are deleted.
    async fn lightened(
        &self,
        brakes: &Brakes,
        forget: impl Fn(&mut LoginBrake, Place) -> bool + Send + Sync,
    ) -> Result<Vec<Change>, Refusal> {
        let mut changes = Vec::new();
        for (id, place) in &brakes.places {
            let Some(mut brake) = self.find::<LoginBrake>(Owner::Platform, *id).await? else { continue };
            let counted = brake.failures;
            let over = forget(&mut brake, *place) || brake.failures == 0;
            if over {
                changes.push(Change::delete(&brake));
            } else if brake.failures != counted {
                changes.push(Change::replace(&brake));
            }
        }
        Ok(changes)
    }

    /// Tells the audit log of accounts that are guessed at from everywhere, and forgets the counts that are over.
    /// At most `limit` of them.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn tend_brakes(&self, limit: usize) -> Result<usize, Refusal> {
        let due = self.due::<LoginBrake>(limit).await?;
        let (to_be_told, over): (Vec<_>, Vec<_>) = due.into_iter().partition(|brake| brake.is_to_be_told());
        let forgotten = self.forget_all(&over).await?;
        for mut brake in to_be_told {
            let user = match &brake.account {
                Some(account) => self.find_by::<User>("email", account.as_bytes()).await?,
                None => None,
            };
            brake.told_at = Some(self.now());
            let told = json!({ "wrong_passwords": brake.failures });
            let deeds = user.iter().map(|user| Deed::of_platform("user.login_delayed", user.id).after(&told)).collect();
            match self.commit(&By::platform(), deeds, vec![Change::replace(&brake)]).await {
                // Guessed again, or lifted, at the same moment: the next look tells of it.
                Err(Refusal::Conflict) => {}
                told => told?,
            }
        }
        Ok(forgotten)
    }

    /// A token for a device from which somebody has signed in to an account: the one that came, while it holds.
    /// It lets nobody in, and holds until all that they have signed in to is ended: whoever once knew the password
    /// has no guesses of their own at the next one.
    pub(super) fn device_token(&self, user: &User, came: Option<&str>) -> String {
        let known = |token: &&str| self.known_device(&user.email_key, user.epoch, token).is_some();
        if let Some(token) = came.filter(known) {
            return token.to_owned();
        }
        let mut device = [0; DEVICE_SIZE];
        self.ports.entropy.fill(&mut device);
        let proof = self.device_proof(&user.email_key, user.epoch, &device);
        format!("{DEVICE_PREFIX}{:032x}{:032x}", u128::from_be_bytes(device), u128::from_be_bytes(proof))
    }

    /// The device of a token, if it was given out for this account, and still holds.
    pub(super) fn known_device(&self, account: &AddressIndex, epoch: u64, token: &str) -> Option<Device> {
        let digits = token.strip_prefix(DEVICE_PREFIX).filter(|digits| digits.len() == 64 && digits.is_ascii())?;
        let (device, proof) = digits.split_at(32);
        let read = |digits: &str| u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes);
        let (device, proof) = (read(device)?, read(proof)?);
        bool::from(self.device_proof(account, epoch, &device).ct_eq(&proof)).then_some(device)
    }

    fn device_proof(&self, account: &AddressIndex, epoch: u64, device: &Device) -> [u8; 16] {
        self.ports.vault.veil("device", &[account.as_bytes(), &epoch.to_be_bytes(), device])
    }
}
