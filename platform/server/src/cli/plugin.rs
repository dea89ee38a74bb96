use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use wotp_channel_wasm::{Component, DeclaredHosts, Descriptor, Place, Runtime, Unread, World};
use wotp_outbound::{Caller, Policy, SystemResolver};

use super::Global;
use super::failure::Failure;
use crate::system::{OsEntropy, SystemClock};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Say what a plugin is and what it asks for, or why it is refused; it calls nobody
    Check {
        /// The component, a file as in `sms.wasm`
        file: PathBuf,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let Command::Check { file } = command;
    let component = examine(&file).await?;
    let (descriptor, hears) = (component.descriptor(), component.hears());
    let machines = json!({
        "ok": true,
        "id": descriptor.id,
        "name": descriptor.name,
        "version": descriptor.version,
        "reaches": descriptor.reaches,
        "hosts": hosts(descriptor),
        "secrets": descriptor.secrets.iter().map(|secret| json!({
            "name": secret.name,
            "about": secret.about,
            "places": secret.places.iter().map(|place| name_of(*place)).collect::<Vec<_>>(),
            "optional": secret.optional,
        })).collect::<Vec<_>>(),
        "idempotent": descriptor.idempotent,
        "hears": hears,
        "asks": component.asks(),
        "probes": component.probes(),
        "config_schema": descriptor.config_schema,
    });
    global.output().print(&machines, || described(&file, &component))?;
    Ok(ExitCode::SUCCESS)
}

async fn examine(file: &Path) -> Result<Component, Failure> {
    let shown = file.display();
    let no_plugin = |refusal| Failure::caused(format!("{shown} is no plugin that can be used"), refusal);
    let bytes = match Component::read(file) {
        Ok(bytes) => bytes,
        Err(Unread::File(error)) => return Err(Failure::caused(format!("{shown} cannot be read"), error)),
        Err(Unread::Refused(refusal)) => return Err(no_plugin(refusal)),
    };
    let runtime = Runtime::new(1).map_err(|error| Failure::caused("plugins cannot be run", error))?;
    let caller = Arc::new(Caller::new(Policy::default(), Arc::new(SystemResolver::default())));
    let world = World { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), caller, public_url: None };
    let component = Component::load(&runtime, &bytes, world).await;
    component.map_err(no_plugin)
}

/// What it calls, as it says.
fn hosts(descriptor: &Descriptor) -> Vec<String> {
    match &descriptor.hosts {
        DeclaredHosts::Any => vec!["*".to_owned()],
        DeclaredHosts::These(these) => these.iter().map(ToString::to_string).collect(),
    }
}

fn name_of(place: Place) -> &'static str {
    match place {
        Place::Header => "header",
        Place::Query => "query",
        Place::Body => "body",
    }
}

fn described(file: &Path, component: &Component) -> String {
    let (descriptor, hears) = (component.descriptor(), component.hears());
    let Descriptor { id, name, version, reaches, secrets, idempotent, config_schema, .. } = descriptor;
    let reaches = reaches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hosts = match &descriptor.hosts {
        DeclaredHosts::Any => "those that `hosts` names".to_owned(),
        DeclaredHosts::These(these) if these.is_empty() => "nobody".to_owned(),
        DeclaredHosts::These(_) => format!("{}, if `hosts` names them too", hosts(descriptor).join(", ")),
    };
    let again = match idempotent {
        true => "is sent again",
        false => "goes to the next channel",
    };
    let mut lines = vec![
        format!("{} can be used: {name} ({id} {version})", file.display()),
        format!("  reaches   {reaches}"),
        format!("  calls     {hosts}"),
        format!(
            "  hears     {}",
            if hears { "what its provider tells later, at /hooks/NAME/" } else { "nothing later" }
        ),
        format!("  asks      {}", if component.asks() { "its provider how a message fares" } else { "nothing later" }),
        format!("  probes    {}", if component.probes() { "whether somebody can be reached" } else { "nobody" }),
        format!("  unknown   a message whose outcome is not known {again}"),
    ];
    for secret in secrets {
        let places = secret.places.iter().map(|place| name_of(*place)).collect::<Vec<_>>().join(", ");
        let optional = if secret.optional { ", optional" } else { "" };
        lines.push(format!("  secret    `{}` in {places}{optional}: {}", secret.name, secret.about));
    }
    lines.push(format!("  config    {config_schema:#}"));
    lines.join("\n")
}
