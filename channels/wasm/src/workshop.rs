//! Where installed plugins are made ready to run: compiled within bounds, kept compiled, and looked at.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::Value;
use wotp_compiled::Shelf;
use wotp_core::domain::Timestamp;
use wotp_core::domain::component_part::sha256_of;
use wotp_core::domain::plugin::{ANY_HOST, CALLS_MAX, PLUGINS_MAX, Release, SecretAsked};
use wotp_core::ports::{Channel, PluginFault, PluginHost, PluginSetup, ReadyPlugin, TenantAccount};

use crate::compiler::{CompileFault, Compiler};
use crate::component::{Component, Refusal};
use crate::descriptor::SecretUse;
use crate::ears::HEARING_MAX;
use crate::hosts::{DeclaredHosts, Host, NoHost};
use crate::manifest::Manifest;
use crate::plugin::{Place, Plugin, Settings, SettingsError};
use crate::room::{Room, Share};
use crate::runtime::{Runtime, RuntimeError};
use crate::sandbox::World;
use crate::secrets::Secret;

/// Calls at once, of all plugins: those that deliver, a quarter as many that ask about messages, and for each plugin one
/// more that asks, one that is asked about its settings, and what it hears.
const ROOM: u32 = CALLS_MAX + CALLS_MAX / 4 + PLUGINS_MAX as u32 * (HEARING_MAX + 2);

/// Makes channels of components.
pub struct Workshop {
    shelf: Arc<Shelf>,
    compiler: Compiler,
    world: World,
    /// Made when the first plugin is looked at: whoever has none does without.
    runtime: OnceLock<Runtime>,
    /// Those that a channel is made of now, by their SHA-256.
    ready: Mutex<HashMap<String, Weak<Component>>>,
}

struct Ready {
    component: Arc<Component>,
    world: World,
    /// What all channels that are made of it share.
    room: Mutex<Option<Arc<Room>>>,
}

impl Ready {
    fn new(component: Arc<Component>, world: World) -> Self {
        Self { component, world, room: Mutex::default() }
    }

    /// The room that there is; another one for another number of calls.
    fn room(&self, calls: usize) -> Arc<Room> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.as_ref().is_none_or(|room| room.calls() != calls) {
            *room = None;
        }
        Arc::clone(room.get_or_insert_with(|| Arc::new(Room::new(calls))))
    }
}

impl Workshop {
    /// One that keeps what it compiled on this shelf.
    pub fn new(shelf: Shelf, compiler: Compiler, world: World) -> Self {
        Self { shelf: Arc::new(shelf), compiler, world, runtime: OnceLock::new(), ready: Mutex::default() }
    }

    fn runtime(&self) -> Result<&Runtime, PluginFault> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = Runtime::new(ROOM).map_err(|error: RuntimeError| PluginFault::Unavailable(error.into()))?;
        // Of two that are made at once one is taken.
        Ok(self.runtime.get_or_init(|| made))
    }

    /// A component that is compiled already, asked what it is. A shelf that cannot be used makes it slower, and nothing
    /// else.
    async fn shelved(&self, sha256: &str) -> Result<Option<Component>, PluginFault> {
        let runtime = self.runtime()?;
        let (engine, name) = (runtime.engine.clone(), sha256.to_owned());
        let taken = self.at_shelf(move |shelf| shelf.take(&engine, &name)).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(sha256, error, "what a plugin was compiled to cannot be taken");
            None
        });
        let Some(compiled) = taken else { return Ok(None) };
        Component::of(runtime, &compiled, self.world.clone()).await.map(Some).map_err(refused)
    }

    /// Does something at the shelf, where it holds up nobody: what a plugin of Python was compiled to is read, verified and
    /// mapped in tenths of a second.
    async fn at_shelf<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let shelf = Arc::clone(&self.shelf);
        tokio::task::spawn_blocking(move || work(&shelf)).await.map_err(io::Error::other)?
    }

    /// A component, compiled now if it was not before, and whether it was.
    async fn compiled(&self, sha256: &str, component: &[u8]) -> Result<(Component, bool), PluginFault> {
        if let Some(known) = self.shelved(sha256).await? {
            return Ok((known, true));
        }
        let compiled = self.compiler.compile(component).await.map_err(|fault| match fault {
            CompileFault::Refused(refusal) => refused(refusal),
            ours => PluginFault::Unavailable(ours.into()),
        })?;
        let (engine, name) = (self.runtime()?.engine.clone(), sha256.to_owned());
        let put = self.at_shelf(move |shelf| shelf.put(&engine, &name, &compiled)).await;
        put.map_err(|error| PluginFault::Unavailable(error.into()))?;
        let nothing = || PluginFault::Unavailable("what was compiled is not on its shelf".into());
        Ok((self.shelved(sha256).await?.ok_or_else(nothing)?, false))
    }

    /// What a component says of itself, if it is what its manifest says.
    async fn release(
        &self,
        component: &Component,
        bytes: &[u8],
        manifest: Option<Manifest>,
        now: Timestamp,
    ) -> Result<Release, PluginFault> {
        component.conforms(self.world.clone()).await.map_err(refused)?;
        let descriptor = component.descriptor();
        let publisher = manifest.map(|manifest| manifest.verify(bytes, descriptor)).transpose();
        let publisher = publisher.map_err(|fault| wrong(&fault))?.map(|publisher| publisher.to_string());
        Ok(Release { publisher, ..said(component, sha256_of(bytes), bytes.len(), now) })
    }

    fn keep(&self, sha256: &str, component: Component) -> Arc<dyn ReadyPlugin> {
        let component = Arc::new(component);
        let mut all = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| one.strong_count() > 0);
        all.insert(sha256.to_owned(), Arc::downgrade(&component));
        Arc::new(Ready::new(component, self.world.clone()))
    }
}

fn refused(refusal: Refusal) -> PluginFault {
    PluginFault::Refused(format!("is no plugin: {refusal}"))
}

fn wrong(fault: &dyn std::error::Error) -> PluginFault {
    PluginFault::Refused(format!("does not hold: {fault}"))
}

fn fault(error: SettingsError) -> PluginFault {
    match error {
        SettingsError::MissingSecret { name, about } => PluginFault::MissingSecret { name, about },
        SettingsError::Busy => PluginFault::Unavailable(error.into()),
        error => wrong(&error),
    }
}

/// What a component says of itself, signed by nobody.
fn said(component: &Component, sha256: String, size: usize, now: Timestamp) -> Release {
    let descriptor = component.descriptor();
    let asked = |secret: &SecretUse| SecretAsked {
        name: secret.name.clone(),
        about: secret.about.clone(),
        optional: secret.optional,
    };
    Release {
        sha256,
        size,
        package: descriptor.id.clone(),
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        publisher: None,
        reaches: descriptor.reaches.clone(),
        hosts: match &descriptor.hosts {
            DeclaredHosts::Any => vec![ANY_HOST.to_owned()],
            DeclaredHosts::These(hosts) => hosts.iter().map(Host::to_string).collect(),
        },
        secrets: descriptor.secrets.iter().map(asked).collect(),
        hears: component.hears(),
        installed_at: now,
    }
}

#[async_trait]
impl PluginHost for Workshop {
    async fn examine(&self, bytes: &[u8], manifest: Option<&str>, now: Timestamp) -> Result<Release, PluginFault> {
        let manifest = manifest.map(Manifest::read).transpose().map_err(|fault| wrong(&fault))?;
        // Before it costs anything, and before anything of it runs.
        if let Some(manifest) = &manifest {
            manifest.verify_bytes(bytes).map_err(|fault| wrong(&fault))?;
        }
        Component::looks_like_one(bytes).map_err(refused)?;
        let sha256 = sha256_of(bytes);
        let examined = async {
            let (component, was_known) = self.compiled(&sha256, bytes).await?;
            Ok((self.release(&component, bytes, manifest, now).await, was_known))
        };
        let release = match examined.await {
            Ok((Ok(release), _)) => return Ok(release),
            // It is there for a plugin that is installed.
            Ok((Err(fault), true)) => return Err(fault),
            Ok((Err(fault), false)) | Err(fault) => fault,
        };
        let engine = self.runtime()?.engine.clone();
        if let Err(error) = self.at_shelf(move |shelf| shelf.remove(&engine, &sha256)).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what was refused is still there, compiled");
        }
        Err(release)
    }

    async fn known(&self, sha256: &str) -> Result<Option<Arc<dyn ReadyPlugin>>, PluginFault> {
        let known = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).and_then(Weak::upgrade);
        if let Some(component) = known {
            return Ok(Some(Arc::new(Ready::new(component, self.world.clone()))));
        }
        Ok(self.shelved(sha256).await?.map(|component| self.keep(sha256, component)))
    }

    async fn compile(&self, bytes: &[u8]) -> Result<Arc<dyn ReadyPlugin>, PluginFault> {
        let sha256 = sha256_of(bytes);
        let (component, _) = self.compiled(&sha256, bytes).await?;
        Ok(self.keep(&sha256, component))
    }

    async fn keep_compiled(&self, components: BTreeSet<String>, before: Timestamp) -> Result<usize, PluginFault> {
        let before = SystemTime::from(before);
        let gone = self.at_shelf(move |shelf| shelf.keep_only(&components, before)).await;
        gone.map_err(|error| PluginFault::Unavailable(error.into()))
    }

    fn host(&self, text: &str) -> Result<String, PluginFault> {
        let host = text.parse::<Host>();
        host.map(|host| host.to_string()).map_err(|error| PluginFault::Refused(format!("does not hold: {error}")))
    }
}

#[async_trait]
impl ReadyPlugin for Ready {
    fn config_schema(&self) -> &Value {
        &self.component.descriptor().config_schema
    }

    fn revokes(&self) -> bool {
        self.component.revokes()
    }

    async fn channel(&self, setup: PluginSetup) -> Result<Arc<dyn Channel>, PluginFault> {
        // It is asked anew each time, and could say something else on another day.
        let PluginSetup { release, .. } = &setup;
        let now = said(&self.component, release.sha256.clone(), release.size, release.installed_at);
        if (Release { publisher: release.publisher.clone(), ..now }) != *release {
            let words = "says something else of itself than when it was installed; install what its publisher has now";
            return Err(PluginFault::Refused(words.to_owned()));
        }
        let hosts = setup.hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>();
        let calls = setup.concurrency as usize;
        let room = self.room(calls);
        let place = match setup.account {
            Some(TenantAccount { connection, tenant }) => {
                Place { connection: Some(connection), share: room.share_of(tenant), room }
            }
            None => Place { connection: None, share: Arc::new(Share::whole(calls)), room },
        };
        let settings = Settings {
            name: setup.channel,
            reaches: setup.release.reaches,
            hosts: hosts.map_err(|error: NoHost| wrong(&error))?,
            secrets: setup.secrets.into_iter().map(|(name, text)| (name, Secret::from(text.to_string()))).collect(),
            config: Value::Object(setup.config),
            timeout: Duration::try_from(setup.timeout).unwrap_or(Duration::from_secs(1)),
            concurrency: calls,
        };
        let plugin = Plugin::within(Arc::clone(&self.component), settings, self.world.clone(), place).map_err(fault)?;
        if setup.asked {
            plugin.accepts().await.map_err(fault)?;
        }
        Ok(Arc::new(plugin))
    }
}
