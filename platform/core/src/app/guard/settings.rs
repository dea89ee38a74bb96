//! What a tenant changes of a guard: its settings, its list, and what the watch has restricted.

use super::{App, Refusal};
use crate::app::{ApiCaller, FieldError};
use crate::domain::address::Address;
use crate::domain::audit::Deed;
use crate::domain::event::{DestinationData, Event, Fact};
use crate::domain::guard::list::{ENTRIES_MAX, ListError, NOTE_LENGTH_MAX, network, prefix};
use crate::domain::guard::{
    GuardList, GuardMode, GuardSettings, ListEffect, ListEntry, Listed, State, Transition, Watch,
};
use crate::domain::id::{DestinationId, GuardEntryId, ServiceId};
use crate::ports::{Change, Owner};

/// An entry to put on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// What it is for.
    pub effect: ListEffect,
    /// What it names.
    pub what: NewListed,
    /// Why, in the tenant's words.
    pub note: String,
}

/// What an entry is to name, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewListed {
    /// A number or an email address.
    Address(String),
    /// The beginning of numbers.
    Prefix(String),
    /// An IP address or a network.
    Network(String),
}

impl App {
    /// The guard of a service; off, when nobody has set it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn guard_settings(&self, caller: &ApiCaller, service: ServiceId) -> Result<GuardSettings, Refusal> {
        self.find_service(caller, service).await?;
        let found = self.find::<GuardSettings>(Owner::Tenant(caller.tenant.id), service.to_bytes()).await?;
        Ok(found.map_or_else(|| GuardSettings::off(caller.tenant.id, service), |stored| stored.entity))
    }

    /// Sets the guard of a service. `change` is given what it is and says what it is to be.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn set_guard(
        &self,
        caller: &ApiCaller,
        service: ServiceId,
        change: impl FnOnce(&mut GuardSettings) + Send,
    ) -> Result<GuardSettings, Refusal> {
        let tenant = caller.tenant.id;
        self.find_service(caller, service).await?;
        let found = self.find::<GuardSettings>(Owner::Tenant(tenant), service.to_bytes()).await?;
        let before = found.as_ref().map(|stored| stored.entity.clone());
        let mut settings = before.clone().unwrap_or_else(|| GuardSettings::off(tenant, service));
        change(&mut settings);
        if let Err(wrong) = settings.check() {
            let field = |field: &'static str| field.to_owned();
            let errors = wrong
                .into_iter()
                .map(|error| FieldError { field: field(error.field), message: error.expected.to_owned() });
            return Err(Refusal::Invalid(errors.collect()));
        }
        if before.as_ref() == Some(&settings) {
            return Ok(settings);
        }
        settings.changed_at = Some(self.now());
        let mut deed = Deed::of(tenant, "guard.set", service).after(&settings);
        if let Some(before) = &before {
            deed = deed.before(before);
        }
        let change = match found {
            Some(mut stored) => {
                stored.entity = settings.clone();
                Change::replace(&stored)
            }
            None => Change::insert(&settings),
        };
        self.commit_guard(caller, deed, vec![change]).await?;
        Ok(settings)
    }

    /// The entries of a service's list, oldest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn guard_entries(&self, caller: &ApiCaller, service: ServiceId) -> Result<Vec<ListEntry>, Refusal> {
        self.find_service(caller, service).await?;
        let list = self.find::<GuardList>(Owner::Tenant(caller.tenant.id), service.to_bytes()).await?;
        Ok(list.map(|stored| stored.entity.entries).unwrap_or_default())
    }

    /// Puts an entry on a service's list. Of a number only what finds it again is kept.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn add_guard_entry(
        &self,
        caller: &ApiCaller,
        service: ServiceId,
        new: NewEntry,
    ) -> Result<ListEntry, Refusal> {
        let tenant = caller.tenant.id;
        self.find_service(caller, service).await?;
        let what = match new.what {
            NewListed::Address(text) => {
                let address = Address::parse(&text).map_err(|error| Refusal::field("address", error.to_string()))?;
                Listed::Address { index: self.ports.vault.index(tenant, &address), masked: address.masked() }
            }
            NewListed::Prefix(text) => {
                let right = "is `+` and 1 to 11 digits, as in `+4477009`; name a whole number as `address`";
                let wrong = || Refusal::field("prefix", right);
                Listed::Prefix { prefix: prefix(&text).ok_or_else(wrong)? }
            }
            NewListed::Network(text) => {
                let wrong = || Refusal::field("network", "is an IP address or a network, as in `192.0.2.0/24`");
                Listed::Network { network: network(&text).ok_or_else(wrong)? }
            }
        };
        if new.note.chars().count() > NOTE_LENGTH_MAX {
            return Err(Refusal::field("note", "has at most 100 characters"));
        }
        let now = self.now();
        let id = GuardEntryId::new(now, &*self.ports.entropy);
        let entry = &ListEntry { id, effect: new.effect, what, note: new.note, created_at: now };
        // One list holds them all: they go one after another, and only nodes race.
        let _turn = self.additions.turn(std::iter::once(Owner::Tenant(tenant))).await;
        self.in_turn(move || async move {
            let found = self.find::<GuardList>(Owner::Tenant(tenant), service.to_bytes()).await?;
            let mut list =
                found.as_ref().map_or_else(|| GuardList::new(tenant, service), |stored| stored.entity.clone());
            list.add(entry.clone()).map_err(|error| match error {
                ListError::Full => Refusal::LimitReached("entries of this kind", ENTRIES_MAX),
                ListError::Known => Refusal::Taken { kind: "entry", index: entry.what.kind() },
            })?;
            let change = match found {
                Some(mut stored) => {
                    stored.entity = list;
                    Change::replace(&stored)
                }
                None => Change::insert(&list),
            };
            let deed = Deed::of(tenant, "guard_entry.add", id).after(shown(service, entry));
            self.commit_guard(caller, deed, vec![change]).await?;
            Ok(entry.clone())
        })
        .await
    }

    /// Takes an entry off a service's list.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn remove_guard_entry(
        &self,
        caller: &ApiCaller,
        service: ServiceId,
        id: GuardEntryId,
    ) -> Result<(), Refusal> {
        let tenant = caller.tenant.id;
        self.find_service(caller, service).await?;
        self.in_turn(move || async move {
            let list = self.find::<GuardList>(Owner::Tenant(tenant), service.to_bytes()).await?;
            let mut list = list.ok_or(Refusal::NotFound("entry"))?;
            let entry = list.entity.remove(id).ok_or(Refusal::NotFound("entry"))?;
            let deed = Deed::of(tenant, "guard_entry.remove", id).before(shown(service, &entry));
            self.commit_guard(caller, deed, vec![Change::replace(&list)]).await
        })
        .await
    }

    /// The destinations of a service that the watch has restricted: all countries, and 1,000 at most besides.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn guard_destinations(&self, caller: &ApiCaller, service: ServiceId) -> Result<Vec<Watch>, Refusal> {
        self.find_service(caller, service).await?;
        self.restricted_destinations(caller.tenant.id, service).await
    }

    /// Lets codes go to a destination again, whatever the watch has seen. Releasing one that is free is no error.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn release_destination(
        &self,
        caller: &ApiCaller,
        service: ServiceId,
        id: DestinationId,
    ) -> Result<Watch, Refusal> {
        let tenant = caller.tenant.id;
        let settings = self.guard_settings(caller, service).await?;
        let found = self.find::<Watch>(Owner::Tenant(tenant), id.to_bytes()).await?;
        let unknown = Refusal::NotFound("destination");
        let mut watch = found.filter(|watch| watch.service == service).ok_or(unknown)?;
        let Some(transition) = watch.entity.release(&settings, self.now()) else { return Ok(watch.entity) };
        let by = if caller.key().is_some() { "api_key" } else { "member" };
        let event = self.told_of(&watch, transition, by, &settings);
        let mut changes = vec![Change::replace(&watch)];
        changes.extend(event.as_ref().map(Change::insert));
        self.commit_guard(caller, deed_of(&watch, transition), changes).await?;
        Ok(watch.entity)
    }

    async fn commit_guard(&self, caller: &ApiCaller, deed: Deed, changes: Vec<Change>) -> Result<(), Refusal> {
        self.commit(&caller.by(), vec![deed], changes).await.map_err(|refusal| match refusal {
            // Two who set it for the first time at the same moment.
            Refusal::Taken { .. } => Refusal::Conflict,
            refusal => refusal,
        })?;
        self.changed(caller.tenant.id).await;
        Ok(())
    }

    /// The event of a change of a destination; a probe is none, since nobody has to act on it.
    pub(super) fn told_of(
        &self,
        watch: &Watch,
        transition: Transition,
        reason: &str,
        settings: &GuardSettings,
    ) -> Option<Event> {
        let data = DestinationData {
            destination: watch.destination.value().to_owned(),
            service: Some(watch.service),
            reason: reason.to_owned(),
            shadow: settings.mode == GuardMode::Shadow,
            until: watch.until,
        };
        let fact = match transition.to {
            State::Slowed => Fact::GuardDestinationSlowed(data),
            State::Blocked => Fact::GuardDestinationBlocked(data),
            State::Normal => Fact::GuardDestinationReleased(data),
            State::Probing => return None,
        };
        Some(Event::new(watch.tenant, Some(watch.service), &fact, self.now(), &*self.ports.entropy))
    }
}

/// What the audit log says of a change of a destination.
pub(super) fn deed_of(watch: &Watch, transition: Transition) -> Deed {
    let action = match transition.to {
        State::Normal => "guard_destination.release",
        State::Slowed => "guard_destination.slow",
        State::Blocked => "guard_destination.block",
        State::Probing => "guard_destination.probe",
    };
    let state = |state: State| serde_json::json!({ "service": watch.service, "state": state });
    let mut after = state(transition.to);
    after["destination"] = watch.destination.value().into();
    Deed::of(watch.tenant, action, watch.id()).before(state(transition.from)).after(after)
}

/// What the audit log says of an entry.
fn shown(service: ServiceId, entry: &ListEntry) -> serde_json::Value {
    serde_json::json!({
        "service": service,
        "effect": entry.effect,
        "kind": entry.what.kind(),
        "value": entry.what.shown(),
        "note": entry.note,
    })
}
