use std::sync::Arc;

use jiff::SignedDuration;

use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::maintenance::{MESSAGE_LENGTH_MAX, Maintenance};
use crate::domain::template;
use crate::ports::{Change, Changed, Owner};

/// Longest that maintenance is announced for, in minutes: a day.
const MINUTES_MAX: u32 = 24 * 60;

impl App {
    /// Begins maintenance, or changes what is said of it: from now on everything can be read, and nothing is
    /// changed but by operators. Codes that are under way still go out; none is checked until it is over.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn begin_maintenance(&self, by: &By, message: &str, minutes: u32) -> Result<Maintenance, Refusal> {
        let message = message.trim();
        if message.is_empty()
            || message.chars().count() > MESSAGE_LENGTH_MAX
            || message.chars().any(template::is_control)
        {
            return Err(Refusal::field("message", "is 1 to 300 characters on one line; callers read it"));
        }
        if !(1..=MINUTES_MAX).contains(&minutes) {
            return Err(Refusal::field("minutes", "is 1 to 1440: how long callers are told to wait"));
        }
        let now = self.now();
        let found = self.find::<Maintenance>(Owner::Platform, Maintenance::ID).await?;
        let maintenance = Maintenance {
            since: found.as_ref().map_or(now, |found| found.since),
            until: now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(now),
            message: message.to_owned(),
        };
        let mut deed = Deed::of_platform("maintenance.begin", "maintenance").after(&maintenance);
        if let Some(going) = &found {
            deed = deed.before(&going.entity);
        }
        let change = match found {
            Some(mut found) => {
                found.entity = maintenance.clone();
                Change::replace(&found)
            }
            None => Change::insert(&maintenance),
        };
        self.commit(by, vec![deed], vec![change]).await?;
        self.everything_changed().await;
        Ok(maintenance)
    }

    /// Ends it. When there is none, nothing changes.
    ///
    /// # Errors
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn end_maintenance(&self, by: &By) -> Result<(), Refusal> {
        let Some(found) = self.find::<Maintenance>(Owner::Platform, Maintenance::ID).await? else { return Ok(()) };
        let deed = Deed::of_platform("maintenance.end", "maintenance").before(&found.entity);
        self.commit(by, vec![deed], vec![Change::delete(&found)]).await?;
        self.everything_changed().await;
        Ok(())
    }

    /// The maintenance that goes on, as it was within the last second.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn maintenance(&self) -> Result<Option<Arc<Maintenance>>, Refusal> {
        if let Some(known) = self.maintenance.find(&(), self.now()) {
            return Ok(known);
        }
        self.maintenance_read
            .read(async {
                let now = self.now();
                let found = self.find::<Maintenance>(Owner::Platform, Maintenance::ID).await?;
                let found = found.map(|stored| Arc::new(stored.entity));
                self.maintenance.keep((), found.clone(), now);
                Ok(found)
            })
            .await
    }

    /// Insists that things may be changed now.
    ///
    /// # Errors
    /// [`Refusal::Maintenance`], [`Refusal::Store`].
    pub async fn may_change(&self) -> Result<(), Refusal> {
        match self.maintenance().await? {
            None => Ok(()),
            Some(going) => Err(Refusal::Maintenance { message: going.message.clone(), until: going.until }),
        }
    }

    async fn everything_changed(&self) {
        self.forget(Changed::Anything);
        if let Err(error) = self.ports.bulletin.tell(Changed::Anything).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the other nodes were not told of a change; they see it within a second");
        }
    }
}
