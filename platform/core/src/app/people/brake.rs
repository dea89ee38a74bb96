use std::net::{IpAddr, Ipv6Addr};

use serde_json::json;
use subtle::ConstantTimeEq;

use super::super::{App, Guessed, Refusal};
use super::{SignedIn, Whence};
use crate::domain::audit::{By, Deed};
use crate::domain::login_brake::{LoginBrake, Place};
use crate::domain::rate::Rate;
use crate::domain::user::User;
use crate::domain::vault::AddressIndex;
use crate::ports::{Bucket, Change, CommitError, HashPlace, Owner};

/// How often a count is tried that others change at the same moment.
const TRIES: usize = 16;
const DEVICE_PREFIX: &str = "wd_";
const DEVICE_SIZE: usize = 16;

/// A device from which somebody has signed in to an account.
pub(super) type Device = [u8; DEVICE_SIZE];

/// Where guesses at a password are counted.
#[derive(Debug, Clone)]
pub(super) struct Brakes {
    guessed: Guessed,
    account: AddressIndex,
    places: Vec<([u8; 16], Place)>,
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
            return Brakes { guessed: Guessed::Password, account: *account, places: vec![here] };
        }
        let places = vec![
            (vault.veil("brake ip", &[account_bytes, &bucket(whence.ip)]), Place::Here),
            (vault.veil("brake", &[account_bytes]), Place::Everywhere),
        ];
        Brakes { guessed: Guessed::Password, account: *account, places }
    }

    /// The brakes for somebody who is signed in: those of the session. What others guess at does not hold them up,
    /// and a session gets nobody another fifty guesses, since it takes the password to have one.
    pub(super) fn session_brakes(&self, person: &SignedIn) -> Brakes {
        let place = self.ports.vault.veil("brake session", &[&person.session.id.to_bytes()]);
        Brakes { guessed: Guessed::InSession, account: person.user.email_key, places: vec![(place, Place::Here)] }
    }

    /// Whether one client signs in too often, whatever the accounts. Before anything is written.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub(super) async fn brake_client(&self, what: &str, rate: Rate, whence: &Whence) -> Result<(), Refusal> {
        let name = self.ports.vault.veil(what, &[&bucket(whence.ip)]);
        let name = format!("{what}:{:032x}", u128::from_be_bytes(name));
        let Ok(decisions) = self.ports.limiter.take(&[Bucket { name, rate }], self.now()).await else {
            return Ok(());
        };
        match decisions.first() {
            Some(decision) if !decision.allowed => Err(Refusal::Rate { policy: "client", rate, decision: *decision }),
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

    /// Counts a guess as a wrong one before it is looked at.
    ///
    /// # Errors
    /// [`Refusal::Braked`], [`Refusal::Busy`]; then the password must not be looked at.
    pub(super) async fn brake(&self, brakes: &Brakes) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let now = self.now();
            let mut changes = Vec::new();
            for (id, place) in &brakes.places {
                let braked = |opens_at| Refusal::Braked { opens_at, guessed: brakes.guessed };
                changes.push(match self.find::<LoginBrake>(Owner::Platform, *id).await? {
                    Some(mut brake) => {
                        brake.count(now).map_err(braked)?;
                        Change::replace(&brake)
                    }
                    None => {
                        let mut brake = LoginBrake::new(*id, *place, now);
                        brake.account = (*place == Place::Everywhere).then_some(brakes.account);
                        brake.count(now).map_err(braked)?;
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

    /// The same as changes of another commit, which is refused when somebody guesses at the same moment: a login is
    /// one commit less, and over MongoDB each is a transaction that starts of verifications wait beside.
    pub(super) async fn eased(&self, brakes: Option<&Brakes>) -> Result<Vec<Change>, Refusal> {
        match brakes {
            Some(brakes) => self.lightened(brakes, right).await,
            None => Ok(Vec::new()),
        }
    }

    /// The guess was not looked at: it is as if it had not been made.
    pub(super) async fn uncount(&self, brakes: &Brakes) -> Result<(), Refusal> {
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
            let over = forget(&mut brake, *place) || brake.failures == 0;
            changes.push(if over { Change::delete(&brake) } else { Change::replace(&brake) });
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
