use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use wotp_core::domain::address::Address;
use wotp_core::domain::code::Code;
use wotp_core::domain::template::is_control;
use wotp_outbound::SystemResolver;
use wotp_workbench::trial::{self, Setting, Shown, Tried};
use zeroize::Zeroizing;

use super::{bytes_of, settings_of, text_of};
use crate::cli::Global;
use crate::cli::failure::Failure;
use crate::system::{OsEntropy, SystemClock};

/// Deliver one message through a plugin, for real, and show what went over the wire
///
/// With the policy of production: what the plugin does here, it does there. It costs what the provider charges. Secrets
/// are shown as `{{secret:name}}`. Exits with 1 when the plugin does not say that the message is sent.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, a file as in `plugin.wasm`
    file: PathBuf,
    /// To whom: a phone number as in `+12025550123`, or an email address
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// The text
    #[arg(long)]
    text: String,
    /// The code in it, for providers that have a field for it
    #[arg(long)]
    code: Option<String>,
    /// Its settings, as TOML or JSON; none by default
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A secret, and the file that holds it and nothing else
    #[arg(long = "secret", value_name = "NAME=FILE")]
    secrets: Vec<SecretFile>,
    /// A host that it may call, for a plugin that calls whichever the operator names
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Let it call this machine too, with `http://`
    #[arg(long)]
    loopback: bool,
}

/// A secret's name and file.
#[derive(Debug, Clone)]
struct SecretFile {
    name: String,
    file: PathBuf,
}

impl FromStr for SecretFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) = text.split_once('=').ok_or("write it as in `token=token.key`")?;
        Ok(Self { name: name.to_owned(), file: file.into() })
    }
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, to, text, code, settings, secrets, hosts, loopback } = arguments;
    let no_address = |error| Failure::caused(format!("`{to}` is no address"), error);
    let to: Address = Address::parse(to).map_err(no_address)?;
    let secret = |secret: &SecretFile| {
        let text = Zeroizing::new(text_of(&secret.file)?);
        Ok::<_, Failure>((secret.name.clone(), Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned())))
    };
    let setting = Setting {
        settings: settings_of(settings.as_deref())?,
        secrets: secrets.iter().map(secret).collect::<Result<BTreeMap<_, _>, _>>()?,
        hosts: hosts.clone(),
        loopback: *loopback,
        to,
        text: text.clone(),
        code: code.as_deref().map(Code::typed),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        resolver: Arc::new(SystemResolver::default()),
    };
    let tried = trial::run(&bytes_of(file)?, setting).await;
    let tried = tried.map_err(|error| Failure::caused(format!("{} delivered nothing", file.display()), error))?;
    let machines = json!({ "ok": tried.is_sent(), "said": tried.verdict(), "exchanges": tried.exchanges });
    global.output().print(&machines, || in_words(&tried))?;
    Ok(if tried.is_sent() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(tried: &Tried) -> String {
    let mut parts: Vec<_> = tried.exchanges.iter().map(exchange).collect();
    parts.push(format!("The plugin says: {}", tried.verdict()));
    if tried.exchanges.is_empty() {
        parts.insert(0, "No request went out.".to_owned());
    }
    parts.join("\n\n")
}

/// As it went out behind `>`, and came back behind `<`.
fn exchange(shown: &Shown) -> String {
    let answer = match (&shown.status, &shown.no_answer) {
        (Some(status), _) => format!("HTTP {status}"),
        (None, why) => format!("nothing: {}", why.as_deref().unwrap_or_default()),
    };
    let (out, back) =
        (part(&shown.request_headers, &shown.request_body), part(&shown.answer_headers, &shown.answer_body));
    let out = std::iter::once(shown.request.as_str()).chain(out).map(|line| marked(">", line));
    let back = std::iter::once(answer.as_str()).chain(back).map(|line| marked("<", line));
    out.chain(back).collect::<Vec<_>>().join("\n")
}

/// Headers, and a body behind an empty line.
fn part<'a>(headers: &'a [String], body: &'a str) -> impl Iterator<Item = &'a str> {
    let body = (!body.is_empty()).then(|| std::iter::once("").chain(body.lines())).into_iter().flatten();
    headers.iter().map(String::as_str).chain(body)
}

/// A line with whose it is; what would steer a terminal is shown as what it is.
fn marked(whose: &str, line: &str) -> String {
    let mut marked = whose.to_owned();
    for c in std::iter::once(' ').chain(line.chars()) {
        match is_control(c) {
            true => marked.extend(c.escape_default()),
            false => marked.push(c),
        }
    }
    marked.trim_end().to_owned()
}
