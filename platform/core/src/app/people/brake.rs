use std::net::{IpAddr, Ipv6Addr};

use serde_json::json;
use subtle::ConstantTimeEq;

use super::super::{App, Refusal};
use super::Whence;
use crate::domain::audit::{By, Deed};
use crate::domain::login_brake::{LoginBrake, Place};
use crate::domain::user::User;
use crate::domain::vault::AddressIndex;
use crate::ports::{Change, CommitError, Owner, Stored};

/// How often a count is tried that others change at the same moment.
const TRIES: usize = 16;
const DEVICE_PREFIX: &str = "wd_";
const DEVICE_SIZE: usize = 16;

/// Where guesses at a password are counted.
#[derive(Debug, Clone)]
pub(super) struct Brakes {
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

impl App {
    /// The brakes for an account: its device's own, or else those of the address and of everywhere.
    pub(super) fn brakes(&self, account: &AddressIndex, device: Option<&str>, whence: &Whence) -> Brakes {
        let vault = &self.ports.vault;
        let account_bytes = account.as_bytes();
        if let Some(device) = device.and_then(|token| self.known_device(account, token)) {
            let here = (vault.veil("brake device", &[account_bytes, &device]), Place::Here);
            return Brakes { account: *account, places: vec![here] };
        }
        let places = vec![
            (vault.veil("brake ip", &[account_bytes, &bucket(whence.ip)]), Place::Here),
            (vault.veil("brake", &[account_bytes]), Place::Everywhere),
        ];
        Brakes { account: *account, places }
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
                let braked = |opens_at| Refusal::Braked { opens_at };
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
        for _ in 0..TRIES {
            let mut changes = Vec::new();
            for (id, place) in &brakes.places {
                let Some(mut brake) = self.find::<LoginBrake>(Owner::Platform, *id).await? else { continue };
                brake.take_back();
                changes.push(eased(&brake, *place));
            }
            // In one commit: over MongoDB each is a transaction, which starts of verifications wait beside.
            if self.made(changes).await? {
                break;
            }
        }
        Ok(())
    }

    /// The owner has proved the address: what was counted for the account from everywhere is forgotten, and
    /// what was counted at this address.
    pub(super) async fn forget_brakes(&self, brakes: &Brakes) -> Result<(), Refusal> {
        for (id, _) in &brakes.places {
            for _ in 0..TRIES {
                let Some(brake) = self.find::<LoginBrake>(Owner::Platform, *id).await? else { break };
                if self.made(vec![Change::delete(&brake)]).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tells the audit log of accounts that are guessed at from everywhere, and forgets the counts that are over.
    /// At most `limit` of them.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn tend_brakes(&self, limit: usize) -> Result<usize, Refusal> {
        let mut forgotten = 0;
        for mut brake in self.due::<LoginBrake>(limit).await? {
            if !brake.is_to_be_told() {
                forgotten += usize::from(self.made(vec![Change::delete(&brake)]).await?);
                continue;
            }
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

    async fn made(&self, changes: Vec<Change>) -> Result<bool, Refusal> {
        match self.ports.store.commit(changes).await {
            Ok(()) => Ok(true),
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A token for a device from which somebody has signed in to an account. It lets nobody in.
    pub(super) fn new_device(&self, account: &AddressIndex) -> String {
        let mut device = [0; DEVICE_SIZE];
        self.ports.entropy.fill(&mut device);
        let proof = self.ports.vault.veil("device", &[account.as_bytes(), &device]);
        format!("{DEVICE_PREFIX}{:032x}{:032x}", u128::from_be_bytes(device), u128::from_be_bytes(proof))
    }

    /// The device of a token, if it was given out for this account.
    fn known_device(&self, account: &AddressIndex, token: &str) -> Option<[u8; DEVICE_SIZE]> {
        let digits = token.strip_prefix(DEVICE_PREFIX).filter(|digits| digits.len() == 64 && digits.is_ascii())?;
        let (device, proof) = digits.split_at(32);
        let read = |digits: &str| u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes);
        let (device, proof) = (read(device)?, read(proof)?);
        let expected = self.ports.vault.veil("device", &[account.as_bytes(), &device]);
        bool::from(expected.ct_eq(&proof)).then_some(device)
    }
}

fn eased(brake: &Stored<LoginBrake>, place: Place) -> Change {
    if place == Place::Here || brake.failures == 0 { Change::delete(brake) } else { Change::replace(brake) }
}
