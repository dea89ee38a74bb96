use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::announcement::{Announcement, Level, TEXT_LENGTH_MAX, TITLE_LENGTH_MAX};
use crate::domain::audit::{By, Deed};
use crate::domain::id::AnnouncementId;
use crate::domain::template;
use crate::ports::{Change, EntityList, Owner};

/// Announcements that are kept at most, those that are over too.
const KEPT_MAX: usize = 200;

/// What is announced.
#[derive(Debug, Clone)]
pub struct Announced {
    /// In one line.
    pub title: String,
    /// The rest.
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// From when on; none means now.
    pub starts_at: Option<Timestamp>,
    /// Until when; none means until it is withdrawn.
    pub ends_at: Option<Timestamp>,
}

impl App {
    /// Announces something to everybody who is signed in.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Store`].
    pub async fn announce(&self, by: &By, announced: Announced) -> Result<Announcement, Refusal> {
        let now = self.now();
        let title = announced.title.trim().to_owned();
        let long = |text: &str, most| text.chars().count() > most;
        if title.is_empty() || long(&title, TITLE_LENGTH_MAX) || title.chars().any(template::is_control) {
            return Err(Refusal::field("title", "is 1 to 120 characters on one line"));
        }
        if long(&announced.text, TEXT_LENGTH_MAX) {
            return Err(Refusal::field("text", "has at most 4,000 characters"));
        }
        let starts_at = announced.starts_at.unwrap_or(now);
        if announced.ends_at.is_some_and(|end| end <= starts_at.max(now)) {
            return Err(Refusal::field("ends_at", "lies after `starts_at`, and not in the past"));
        }
        if self.announcements().await?.len() >= KEPT_MAX {
            return Err(Refusal::field("title", "there are 200 announcements already: withdraw some"));
        }
        let announcement = Announcement {
            id: AnnouncementId::new(now, &*self.ports.entropy),
            title,
            text: announced.text,
            level: announced.level,
            starts_at,
            ends_at: announced.ends_at,
        };
        let deed = Deed::of_platform("announcement.create", announcement.id).after(&announcement);
        self.commit(by, vec![deed], vec![Change::insert(&announcement)]).await?;
        Ok(announcement)
    }

    /// Withdraws an announcement.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn withdraw_announcement(&self, by: &By, id: AnnouncementId) -> Result<(), Refusal> {
        let found = self.find::<Announcement>(Owner::Platform, id.to_bytes()).await?;
        let found = found.ok_or(Refusal::NotFound("announcement"))?;
        let deed = Deed::of_platform("announcement.withdraw", id).before(&found.entity);
        self.commit(by, vec![deed], vec![Change::delete(&found)]).await
    }

    /// Every announcement, newest first, those that are over too.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn announcements(&self) -> Result<Vec<Announcement>, Refusal> {
        let all = self.list(&EntityList::of(Owner::Platform).newest(KEPT_MAX)).await?;
        Ok(all.into_iter().map(|stored| stored.entity).collect())
    }

    /// The announcements that are shown now, newest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn shown_announcements(&self) -> Result<Vec<Announcement>, Refusal> {
        let now = self.now();
        let mut all = self.announcements().await?;
        all.retain(|announcement| announcement.is_shown(now));
        Ok(all)
    }
}
