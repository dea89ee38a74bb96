use std::sync::atomic::{AtomicBool, Ordering};

use super::{NewPlugin, deed, refused, told};
use crate::app::commit::tried_again;
use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::PluginId;
use crate::domain::plugin::{
    CALLS, COMPONENT_BYTES_MAX, Connecting, PLUGINS_MAX, Plugin, Release, Settings, TIMEOUT_SECONDS,
};
use crate::ports::{Change, Stored};

impl App {
    /// Installs a component: as a plugin, or as another release of one that is there. It delivers nothing before it is
    /// approved. The same component again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it is no plugin, or not to be had under that name; [`Refusal::NoPlugins`],
    /// [`Refusal::LimitReached`], [`Refusal::Conflict`], [`Refusal::Store`]. Then nothing is installed.
    pub async fn install_plugin(&self, by: &By, new: NewPlugin) -> Result<Plugin, Refusal> {
        if new.component.len() > COMPONENT_BYTES_MAX {
            let words = format!(
                "has {} MiB; at most {} MiB are installed",
                new.component.len().div_ceil(1 << 20),
                COMPONENT_BYTES_MAX >> 20
            );
            return Err(Refusal::field("component", words));
        }
        if new.manifest.is_none() && !new.unsigned {
            let words = "is missing: nobody signed this component. Give the `plugin.toml` that its publisher made with \
                         `wotp plugin sign`, or say that an unsigned one is to be taken";
            return Err(Refusal::field("manifest", words));
        }
        let examined = self.ports.plugins.examine(&new.component, new.manifest.as_deref(), self.now()).await;
        let release = examined.map_err(|fault| refused("component", fault))?;
        if let Some(wanted) = &new.publisher
            && release.publisher.as_ref() != Some(wanted)
        {
            let whose = release.publisher.as_ref().map_or("nobody".to_owned(), |other| format!("`{other}`"));
            let words =
                format!("is `{wanted}`, and {whose} signed this component; fetch it anew from whoever has that key");
            return Err(Refusal::field("publisher", words));
        }
        let stored = AtomicBool::new(false);
        let keep = || self.keep(by, &release, &new, &stored);
        let plugin = match tried_again(keep).await {
            // Somebody installed it, or had the channel, since this was looked at: another look says what it is.
            Err(Refusal::Taken { .. }) => tried_again(keep).await?,
            done => done?,
        };
        if let Err(error) = self.drop_orphans().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "components that nothing names are still there");
        }
        Ok(plugin)
    }

    /// Stores a release that was examined, as what it is among those that are installed now.
    async fn keep(&self, by: &By, release: &Release, new: &NewPlugin, stored: &AtomicBool) -> Result<Plugin, Refusal> {
        // Before anything is read that this rests on.
        let noticed = self.plugins_change().await?;
        let installed = self.find_by::<Plugin>("package", &release.package).await?;
        let kept = match installed {
            Some(found) => followed_up(found, release.clone(), new.channel.as_deref())?,
            None => self.begun(release.clone(), new).await?,
        };
        // Also where it is there already: whoever installs it again may be mending what is stored.
        if !stored.swap(true, Ordering::Relaxed) {
            self.store_component(&release.sha256, &new.component).await?;
        }
        match kept {
            Kept::New(plugin) => {
                let deed = Deed::of_platform("plugin.install", plugin.id).after(told(&plugin));
                self.commit_to_plugins(by, deed, Change::insert(&*plugin), noticed).await?;
                Ok(*plugin)
            }
            Kept::Release { mut found, release } => {
                if found.newest().is_some_and(|newest| is_known(newest, &release)) {
                    return Ok(found.entity);
                }
                let before = found.entity.clone();
                found.entity.follow_up(*release);
                let deed = deed("plugin.upgrade", &before, &found);
                self.commit_to_plugins(by, deed, Change::replace(&found), noticed).await?;
                Ok(found.entity)
            }
        }
    }

    /// A plugin that is not there yet, if its name is to be had.
    async fn begun(&self, release: Release, new: &NewPlugin) -> Result<Kept, Refusal> {
        let channel = new.channel.clone().unwrap_or_else(|| channel_of(&release.package));
        if !is_channel(&channel) {
            return Err(Refusal::field("channel", "is 1 to 32 small letters, digits and `_`, a letter first"));
        }
        let installed = self.plugins().await?;
        let is_taken = RESERVED.contains(&channel.as_str())
            || new.configured.contains(&channel)
            || self.channel_infos.iter().any(|info| info.name == channel)
            || installed.iter().any(|plugin| plugin.channel == channel);
        if is_taken {
            let words = format!("is `{channel}`, and there is a channel of this name already; choose another");
            return Err(Refusal::field("channel", words));
        }
        if installed.len() >= PLUGINS_MAX {
            return Err(Refusal::LimitReached("plugins", PLUGINS_MAX));
        }
        let now = self.now();
        Ok(Kept::New(Box::new(Plugin {
            id: PluginId::new(now, &*self.ports.entropy),
            channel,
            package: release.package.clone(),
            publisher: release.publisher.clone(),
            releases: vec![release],
            active: None,
            previous: None,
            hosts: Vec::new(),
            enabled: false,
            tenants: None,
            concurrency: CALLS,
            timeout_seconds: TIMEOUT_SECONDS,
            settings: Settings::default(),
            connecting: Connecting::None,
            created_at: now,
        })))
    }
}

/// What is to be stored of an installation.
enum Kept {
    /// A plugin.
    New(Box<Plugin>),
    /// Another release of one.
    Release { found: Box<Stored<Plugin>>, release: Box<Release> },
}

/// Another release of a plugin that is there, if it may follow it up.
fn followed_up(found: Stored<Plugin>, release: Release, channel: Option<&str>) -> Result<Kept, Refusal> {
    if let Some(other) = channel.filter(|channel| *channel != found.channel) {
        let words = format!(
            "is `{other}`, and {} is installed already with the channel `{}`, which stays: it is stored with each delivery",
            found.package, found.channel
        );
        return Err(Refusal::field("channel", words));
    }
    if let Some(publisher) = &found.publisher
        && release.publisher.as_ref() != Some(publisher)
    {
        let whose = release.publisher.map_or("nobody".to_owned(), |other| format!("`{other}`"));
        let words = format!(
            "is signed by {whose}, and what is installed of {} by `{publisher}`; only they can follow it up. Remove the \
             plugin first if you trust the other",
            found.package
        );
        return Err(Refusal::field("manifest", words));
    }
    Ok(Kept::Release { found: Box::new(found), release: Box::new(release) })
}

/// Whether it is the same once more, and signed by nobody who was not known.
fn is_known(newest: &Release, again: &Release) -> bool {
    newest.sha256 == again.sha256 && (again.publisher.is_none() || newest.publisher == again.publisher)
}

/// What the channel of a plugin is called when nobody says: the last part of its name in the world.
fn channel_of(package: &str) -> String {
    let last = package.rsplit('.').next().unwrap_or(package);
    last.chars().take(CHANNEL_LENGTH_MAX).map(|c| if c == '-' { '_' } else { c }).collect()
}

/// Names that something else has, or had: those of built-in channels, and of what stands in for one with test numbers.
const RESERVED: [&str; 5] = ["console", "email", "whatsapp", "sandbox", "sandbox_2"];
/// Longest name of a channel.
const CHANNEL_LENGTH_MAX: usize = 32;

fn is_channel(name: &str) -> bool {
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= CHANNEL_LENGTH_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_called_by_the_last_part_of_the_plugins_name() {
        assert_eq!(channel_of("example.twilio-sms"), "twilio_sms");
        assert_eq!(channel_of("sms"), "sms");
        assert!(is_channel(&channel_of("acme.a-name-that-is-longer-than-thirty-two-characters")));
        assert!(!is_channel(&channel_of("acme.7")) && !is_channel(""));
    }
}
