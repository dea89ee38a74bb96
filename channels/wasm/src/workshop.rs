//! Where installed plugins are made ready to run: compiled within bounds, kept compiled, and looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use wotp_compiled::Shelf;
use wotp_core::domain::Timestamp;
use wotp_core::domain::component_part::sha256_of;
use wotp_core::domain::plugin::{ANY_HOST, CALLS_MAX, PLUGINS_MAX, Release, SecretAsked};
use wotp_core::ports::{Channel, PluginFault, PluginHost, PluginSetup, ReadyPlugin};

use crate::compiler::{CompileFault, Compiler};
use crate::component::{Component, Refusal};
use crate::ears::HEARING_MAX;
use crate::hosts::{DeclaredHosts, Host};
use crate::manifest::Manifest;
use crate::plugin::{Plugin, Settings};
use crate::runtime::{Runtime, RuntimeError};
use crate::sandbox::World;
use crate::secrets::Secret;

/// Calls at once, of all plugins: those that deliver, and for each what it hears and one that is asked about its settings.
const ROOM: u32 = CALLS_MAX + PLUGINS_MAX as u32 * (HEARING_MAX + 1);

/// Makes channels of components.
pub struct Workshop {
    shelf: Shelf,
    compiler: Compiler,
    world: World,
    /// Made when the first plugin is looked at: whoever has none does without.
    runtime: OnceLock<Runtime>,
    ready: Mutex<HashMap<String, Weak<Ready>>>,
}

struct Ready {
    component: Arc<Component>,
    world: World,
}

impl Workshop {
    /// One that keeps what it compiled on this shelf.
    pub fn new(shelf: Shelf, compiler: Compiler, world: World) -> Self {
        Self { shelf, compiler, world, runtime: OnceLock::new(), ready: Mutex::default() }
    }

    fn runtime(&self) -> Result<&Runtime, PluginFault> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = Runtime::new(ROOM).map_err(|error: RuntimeError| PluginFault::Unavailable(error.into()))?;
        // Of two that are made at once one is taken.
        Ok(self.runtime.get_or_init(|| made))
    }

    /// A component that is compiled already, asked what it is.
    async fn from_shelf(&self, sha256: &str) -> Result<Option<Component>, PluginFault> {
        let runtime = self.runtime()?;
        let taken = self.shelf.take(&runtime.engine, sha256);
        let Some(compiled) = taken.map_err(|error| PluginFault::Unavailable(error.into()))? else { return Ok(None) };
        Component::of(runtime, &compiled, self.world.clone()).await.map(Some).map_err(refused)
    }

    /// Compiles a component, and puts it on the shelf.
    async fn to_shelf(&self, sha256: &str, component: &[u8]) -> Result<(), PluginFault> {
        let compiled = self.compiler.compile(component).await.map_err(|fault| match fault {
            CompileFault::Refused(refusal) => refused(refusal),
            ours => PluginFault::Unavailable(ours.into()),
        })?;
        let put = self.shelf.put(&self.runtime()?.engine, sha256, &compiled);
        put.map_err(|error| PluginFault::Unavailable(error.into()))
    }

    async fn compiled(&self, sha256: &str, component: &[u8]) -> Result<Component, PluginFault> {
        if let Some(known) = self.from_shelf(sha256).await? {
            return Ok(known);
        }
        self.to_shelf(sha256, component).await?;
        let nothing = || PluginFault::Unavailable("what was compiled is not on its shelf".into());
        self.from_shelf(sha256).await?.ok_or_else(nothing)
    }

    fn keep(&self, sha256: &str, component: Component) -> Arc<Ready> {
        let ready = Arc::new(Ready { component: Arc::new(component), world: self.world.clone() });
        let mut all = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| one.strong_count() > 0);
        all.insert(sha256.to_owned(), Arc::downgrade(&ready));
        ready
    }
}

fn refused(refusal: Refusal) -> PluginFault {
    PluginFault::Refused(format!("is no plugin: {refusal}"))
}

#[async_trait]
impl PluginHost for Workshop {
    async fn examine(&self, bytes: &[u8], manifest: Option<&str>, now: Timestamp) -> Result<Release, PluginFault> {
        let wrong = |fault: &dyn std::error::Error| PluginFault::Refused(format!("does not hold: {fault}"));
        let manifest = manifest.map(Manifest::read).transpose().map_err(|fault| wrong(&fault))?;
        // Before it costs anything, and before anything of it runs.
        if let Some(manifest) = &manifest {
            manifest.verify_bytes(bytes).map_err(|fault| wrong(&fault))?;
        }
        Component::looks_like_one(bytes).map_err(refused)?;
        let sha256 = sha256_of(bytes);
        let component = self.compiled(&sha256, bytes).await?;
        component.conforms(self.world.clone()).await.map_err(refused)?;
        let descriptor = component.descriptor();
        let publisher = manifest.map(|manifest| manifest.verify(bytes, descriptor)).transpose();
        let publisher = publisher.map_err(|fault| wrong(&fault))?.map(|publisher| publisher.to_string());
        let asked = |secret: &crate::descriptor::SecretUse| SecretAsked {
            name: secret.name.clone(),
            about: secret.about.clone(),
            optional: secret.optional,
        };
        Ok(Release {
            sha256,
            size: bytes.len(),
            package: descriptor.id.clone(),
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            publisher,
            reaches: descriptor.reaches.clone(),
            hosts: match &descriptor.hosts {
                DeclaredHosts::Any => vec![ANY_HOST.to_owned()],
                DeclaredHosts::These(hosts) => hosts.iter().map(Host::to_string).collect(),
            },
            secrets: descriptor.secrets.iter().map(asked).collect(),
            hears: component.hears(),
            installed_at: now,
        })
    }

    async fn known(&self, sha256: &str) -> Result<Option<Arc<dyn ReadyPlugin>>, PluginFault> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).and_then(Weak::upgrade);
        if let Some(ready) = ready {
            return Ok(Some(ready));
        }
        let component = self.from_shelf(sha256).await?;
        Ok(component.map(|component| self.keep(sha256, component) as Arc<dyn ReadyPlugin>))
    }

    async fn compile(&self, bytes: &[u8]) -> Result<Arc<dyn ReadyPlugin>, PluginFault> {
        let sha256 = sha256_of(bytes);
        let component = self.compiled(&sha256, bytes).await?;
        Ok(self.keep(&sha256, component))
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

    async fn channel(&self, setup: PluginSetup) -> Result<Arc<dyn Channel>, PluginFault> {
        let wrong = |error: &dyn std::error::Error| PluginFault::Refused(format!("does not hold: {error}"));
        let hosts = setup.hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>();
        let settings = Settings {
            name: setup.channel,
            reaches: Vec::new(),
            hosts: hosts.map_err(|error: crate::hosts::NoHost| wrong(&error))?,
            secrets: setup.secrets.into_iter().map(|(name, text)| (name, Secret::from(text.to_string()))).collect(),
            config: Value::Object(setup.config),
            timeout: Duration::try_from(setup.timeout).unwrap_or(Duration::from_secs(1)),
            concurrency: setup.concurrency as usize,
        };
        let plugin = Plugin::new(Arc::clone(&self.component), settings, self.world.clone()).await;
        Ok(Arc::new(plugin.map_err(|error| wrong(&error))?))
    }
}
