use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wotp_channel_wasm::{Component, DeclaredHosts, Descriptor, Manifest, Place, PublisherKey};

use super::{examined, text_of};
use crate::cli::Global;
use crate::cli::failure::Failure;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, a file as in `sms.wasm`
    file: PathBuf,
    /// Its `plugin.toml`: see who published it, and whether it is what they published
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, manifest } = arguments;
    let (component, bytes) = examined(file).await?;
    let publisher = match manifest {
        None => None,
        Some(manifest) => Some(published(manifest, &bytes, component.descriptor())?),
    };
    print(global, file, &component, publisher)?;
    Ok(ExitCode::SUCCESS)
}

/// Who published it, as a manifest says that holds.
fn published(manifest: &Path, bytes: &[u8], component: &Descriptor) -> Result<PublisherKey, Failure> {
    let shown = manifest.display();
    let held = Manifest::read(&text_of(manifest)?).and_then(|manifest| manifest.verify(bytes, component));
    held.map_err(|fault| Failure::caused(format!("{shown} does not hold"), fault))
}

/// Says what a plugin is.
pub(super) fn print(
    global: &Global,
    file: &Path,
    component: &Component,
    publisher: Option<PublisherKey>,
) -> Result<(), Failure> {
    let (descriptor, hears) = (component.descriptor(), component.hears());
    let machines = json!({
        "ok": true,
        "id": descriptor.id,
        "name": descriptor.name,
        "version": descriptor.version,
        "reaches": descriptor.reaches,
        "hosts": descriptor.hosts.names(),
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
        "revokes": component.revokes(),
        "checks": component.checks(),
        "contract": component.contract(),
        "unused": component.unused(),
        "publisher": publisher.map(|key| key.to_string()),
        "config_schema": descriptor.config_schema,
    });
    global.output().print(&machines, || described(file, component, publisher))
}

fn name_of(place: Place) -> &'static str {
    match place {
        Place::Header => "header",
        Place::Query => "query",
        Place::Body => "body",
    }
}

fn described(file: &Path, component: &Component, publisher: Option<PublisherKey>) -> String {
    let (descriptor, hears) = (component.descriptor(), component.hears());
    let Descriptor { id, name, version, reaches, secrets, idempotent, config_schema, .. } = descriptor;
    let reaches = reaches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hosts = match &descriptor.hosts {
        DeclaredHosts::Any => "those that `hosts` names".to_owned(),
        DeclaredHosts::These(these) if these.is_empty() => "nobody".to_owned(),
        DeclaredHosts::These(_) => format!("{}, if `hosts` names them too", descriptor.hosts.names().join(", ")),
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
        format!("  revokes   {}", if component.revokes() { "codes of what is canceled" } else { "nothing" }),
        format!(
            "  checks    {}",
            if component.checks() { "how the account at its provider stands" } else { "nothing" }
        ),
        format!("  unknown   a message whose outcome is not known {again}"),
    ];
    lines.extend(
        component.unused().iter().map(|name| format!("  unused    `{name}`: not used; a newer WOTP may know it")),
    );
    lines.extend(publisher.map(|key| format!("  published by {key}")));
    for secret in secrets {
        let places = secret.places.iter().map(|place| name_of(*place)).collect::<Vec<_>>().join(", ");
        let optional = if secret.optional { ", optional" } else { "" };
        lines.push(format!("  secret    `{}` in {places}{optional}: {}", secret.name, secret.about));
    }
    lines.push(format!("  config    {config_schema:#}"));
    lines.join("\n")
}
