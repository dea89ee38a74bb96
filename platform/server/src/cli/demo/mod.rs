//! `wotp demo`: a server of its own, and a code sent and checked over HTTP before your eyes.

mod json_text;
mod overheard;
mod terminal;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wotp_core::app::{App, NewTenant};
use wotp_core::domain::node::Role;
use wotp_core::ports::{Channel, Clock as _};

use super::failure::Failure;
use super::loopback::{self, Reply};
use super::serve::Stop;
use super::{Global, logging};
use crate::config::{Config, ConsoleOutput, Inputs, Log, load};
use crate::data_folder::DataFolder;
use crate::server::Server;
use crate::system::SystemClock;
use crate::wiring::{CONSOLE, Purpose, channels, wire};
use overheard::{Ear, overhear};
use terminal::{Terminal, Tone};

/// From a range that is reserved for fiction: nobody has it.
const NUMBER: &str = "+12025550123";
const TENANT: &str = "Acme";
/// Between two looks at whether the server is ready, or a message is out.
const LOOK: Duration = Duration::from_millis(10);
/// Looks before something must be wrong: 10 seconds.
const LOOKS_MAX: u32 = 1000;

#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "IP:PORT", value_parser = crate::config::listen_address)]
    listen: Option<SocketAddr>,
    /// End once it has been shown, instead of staying up
    #[arg(long)]
    once: bool,
    /// When the user began to wait, in milliseconds since 1970: `make demo` says when it began to
    /// build
    #[arg(long, value_name = "UNIX_MS", hide = true)]
    started_at: Option<i64>,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let began = SystemClock.now().as_millisecond();
    let mut stop = Stop::listen()?;
    let terminal = Terminal::new(global.json);
    // Dropped, and the folder with it, when the demo ends.
    let fresh = match &global.data {
        Some(_) => None,
        None => {
            let made = tempfile::Builder::new().prefix("wotp-demo-").tempdir();
            Some(made.map_err(|error| {
                Failure::caused("no temporary folder can be made", error).help("name one with --data")
            })?)
        }
    };
    let path = fresh.as_ref().map_or(global.data(), |folder| folder.path());
    let config = configuration(global, path, arguments.listen)?;
    logging::start(&config.log);
    let folder = DataFolder::create(path)?.with_master_key_file(&config.store.master_key_file);
    let mut lock = folder.lock().await?;

    let (channels, ear) = with_ear(channels(&config, &folder).await?)?;
    let wired = wire(&config, &folder, Purpose::Serve, channels).await?;
    let app = Arc::clone(&wired.app);
    let server = Server::bind(&config, wired, Role::All).await?;
    let (url, address) = (server.url(), server.address());
    lock.listening(&url).map_err(|error| Failure::caused("the lock file cannot be written", error))?;
    let (end, ended) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async {
        // An error is an end too: the demo failed.
        let _ = ended.await;
    }));

    let demo = Demo {
        terminal,
        app,
        address,
        url,
        data: folder.path().display().to_string(),
        fresh: fresh.is_some(),
        began,
        waiting_since: arguments.started_at.unwrap_or(began),
    };
    let shown = tokio::select! {
        shown = demo.show(ear) => shown.map(Some),
        () = stop.asked() => Ok(None),
    };
    if let Ok(Some(tenant)) = &shown {
        demo.summary(global, tenant, arguments.once)?;
        if !arguments.once {
            stop.asked().await;
            terminal.line("")?;
        }
    }
    // Nobody receives it when the server has ended already, and that is what it asks for.
    let _ = end.send(());
    tokio::select! {
        ended = server => ended.map_err(|error| Failure::caused("the server panicked", error))?,
        () = stop.asked() => {}
    }
    shown.map(|_| ExitCode::SUCCESS)
}

/// The usual configuration, except where that would be in the way of a demo.
fn configuration(global: &Global, data: &std::path::Path, listen: Option<SocketAddr>) -> Result<Config, Failure> {
    let loaded = load(Inputs {
        file: global.config.clone(),
        data: data.to_owned(),
        variables: std::env::vars_os().collect(),
        listen: Some(listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))),
    })?;
    let mut config = loaded.config;
    if config.log == Log::default() {
        // Someone who set it wants to read it; nobody else does.
        config.log.level = "warn".to_owned();
    }
    if global.json {
        config.channels.console.output = ConsoleOutput::Nowhere;
    }
    Ok(config)
}

/// The channels with an ear at the console, and the console alone: a demo writes to nobody.
fn with_ear(channels: Vec<Arc<dyn Channel>>) -> Result<(Vec<Arc<dyn Channel>>, Ear), Failure> {
    let console = channels.into_iter().find(|channel| channel.name() == CONSOLE);
    let console = console.ok_or_else(|| {
        Failure::new("the demo needs the console channel, and the configuration switches it off")
            .help("leave --data, --config and WOTP_CHANNELS__CONSOLE__ENABLED away")
    })?;
    let (overheard, ear) = overhear(console);
    Ok((vec![Arc::new(overheard)], ear))
}

/// What has been shown.
struct Shown {
    tenant: NewTenant,
    verification: String,
    first_verified_seconds: f64,
}

struct Demo {
    terminal: Terminal,
    app: Arc<App>,
    address: SocketAddr,
    url: String,
    data: String,
    fresh: bool,
    /// Milliseconds since 1970.
    began: i64,
    /// Milliseconds since 1970.
    waiting_since: i64,
}

impl Demo {
    async fn show(&self, mut ear: Ear) -> Result<Shown, Failure> {
        let terminal = self.terminal;
        terminal.line(&terminal.paint(Tone::Strong, "WOTP: one code, from request to verified"))?;
        self.ready().await?;
        let took = self.seconds_since(self.began);
        terminal.indented(Tone::Quiet, [format!("the server was ready on {} after {took:.2} s", self.url)])?;

        terminal.step(1, "A tenant, its service and its keys")?;
        terminal.indented(Tone::Quiet, [format!("$ wotp tenant create {TENANT} --data {}", self.data)])?;
        let plan = "free";
        let tenant = self.app.create_tenant(TENANT, plan).await?;
        let (live, test) = (tenant.live_key.reveal(), tenant.test_key.reveal());
        terminal.indented(
            Tone::Good,
            [
                format!("tenant   {}  {TENANT}, plan {plan}", tenant.tenant.id),
                format!("service  {}", tenant.service.id),
                format!("live     {live}"),
                format!("test     {test}"),
            ],
        )?;

        terminal.step(2, "Send a code: counted against the plan, queued, taken by a worker, handed to a channel")?;
        let body = json!({ "to": NUMBER }).to_string();
        let reply = self.call("POST", "/v1/verifications", live, Some(&body)).await?;
        let verification = self.expect(&reply, 201)?;
        terminal.indented(Tone::Good, json_text::lines(&reply.body))?;
        terminal.indented(Tone::Quiet, ["", "The console channel prints what a phone would show:"])?;
        ear.let_out();
        let code = ear.code().await.ok_or_else(|| Failure::new("the channel was closed before the code went out"))?;
        let id = text(&verification, "/id");
        let path = format!("/v1/verifications/{id}");

        terminal.step(3, "A wrong guess is counted, and that is all")?;
        let check = format!("{path}/check");
        let wrong = guess(&wrong_code(code.as_str()));
        let reply = self.call("POST", &check, live, Some(&wrong)).await?;
        self.expect(&reply, 200)?;
        self.brief(&reply, &["valid", "status", "checks"])?;

        terminal.step(4, "The code that was sent is right")?;
        let right = guess(code.as_str());
        let reply = self.call("POST", &check, live, Some(&right)).await?;
        let said = self.expect(&reply, 200)?;
        let first_verified_seconds = self.seconds_since(self.waiting_since);
        self.brief(&reply, &["valid", "status", "checks"])?;
        if said["valid"] != Value::Bool(true) {
            return Err(Failure::new("the right code was refused"));
        }
        terminal.indented(Tone::Strong, [format!("first verified code after {first_verified_seconds:.1} s")])?;

        terminal.step(5, "It works once")?;
        let reply = self.call("POST", &check, live, Some(&right)).await?;
        self.expect(&reply, 200)?;
        self.brief(&reply, &["valid", "status", "checks"])?;

        terminal.step(6, "What became of it, and of the plan")?;
        let reply = self.call("GET", &path, live, None).await?;
        self.expect(&reply, 200)?;
        self.brief(&reply, &["status", "to", "deliveries", "ended_at"])?;
        let reply = self.call("GET", "/v1/usage", live, None).await?;
        let said = self.expect(&reply, 200)?;
        let window = |name: &str| {
            let window = &said["verifications"][name];
            format!("{} of {}", window["used"], window["included"])
        };
        let (plan, day, month) = (text(&said, "/plan"), window("day"), window("month"));
        terminal.indented(Tone::Good, [format!("plan {plan}: {day} verifications used today, {month} this month")])?;

        terminal.step(7, "A test key reaches nobody, and its replies tell the code")?;
        let reply = self.call("POST", "/v1/verifications", test, Some(&body)).await?;
        self.expect(&reply, 201)?;
        self.brief(&reply, &["id", "status", "test_mode", "test_code"])?;
        Ok(Shown { tenant, verification: id, first_verified_seconds })
    }

    fn summary(&self, global: &Global, shown: &Shown, once: bool) -> Result<(), Failure> {
        let Shown { tenant, verification, first_verified_seconds } = shown;
        if global.json {
            let machines = json!({
                "url": self.url,
                "data": self.data,
                "tenant": tenant.tenant.id,
                "service": tenant.service.id,
                "live_key": tenant.live_key.reveal(),
                "test_key": tenant.test_key.reveal(),
                "verification": verification,
                "first_verified_seconds": first_verified_seconds,
            });
            return global.output().print(&machines, String::new);
        }
        if once {
            return Ok(());
        }
        let terminal = self.terminal;
        let kept = if self.fresh { "  (gone when the demo ends; --data DIR keeps it)" } else { "" };
        terminal.line("")?;
        terminal.line(&terminal.paint(Tone::Strong, "It stays up until Ctrl-C; the keys and commands above work."))?;
        terminal.line(&format!("   API   {}\n   docs  {}/docs\n   data  {}{kept}", self.url, self.url, self.data))
    }

    /// Waits until the server says that it can serve.
    async fn ready(&self) -> Result<(), Failure> {
        for _ in 0..LOOKS_MAX {
            if loopback::call(self.address, "GET", "/health/ready", None, None)
                .await
                .is_ok_and(|reply| reply.status == 200)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Failure::new("the server does not become ready").help("`wotp doctor` looks for the reason"))
    }

    /// Prints the command that does it, does it, and prints the status of the reply.
    async fn call(&self, method: &str, path: &str, key: &str, body: Option<&str>) -> Result<Reply, Failure> {
        let mut command = vec![format!("$ curl -s {}{path} \\", self.url)];
        command.push(format!("    -H 'Authorization: Bearer {key}'{}", if body.is_some() { " \\" } else { "" }));
        command.extend(body.map(|body| format!("    -H 'Content-Type: application/json' -d '{body}'")));
        self.terminal.indented(Tone::Quiet, command)?;
        let reply = loopback::call(self.address, method, path, Some(key), body).await;
        let reply = reply.map_err(|error| Failure::caused(format!("{method} {path} got no reply"), error))?;
        self.terminal.indented(Tone::Quiet, [&reply.status_line])?;
        Ok(reply)
    }

    fn expect(&self, reply: &Reply, status: u16) -> Result<Value, Failure> {
        if reply.status != status {
            return Err(Failure::new(format!("the server answered {}: {}", reply.status_line, reply.body)));
        }
        serde_json::from_str(&reply.body).map_err(|error| Failure::caused("the reply is not JSON", error))
    }

    /// Prints some of a reply's fields, and a sign that there are more.
    fn brief(&self, reply: &Reply, fields: &[&str]) -> Result<(), Failure> {
        self.terminal.indented(Tone::Good, json_text::lines(&json_text::some_of(&reply.body, fields)))
    }

    fn seconds_since(&self, milliseconds: i64) -> f64 {
        let passed = SystemClock.now().as_millisecond().saturating_sub(milliseconds).max(0);
        Duration::from_millis(passed.unsigned_abs()).as_secs_f64()
    }
}

fn text(reply: &Value, pointer: &str) -> String {
    reply.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn guess(code: &str) -> String {
    json!({ "code": code }).to_string()
}

/// Another code of the same length: its last digit is one more.
fn wrong_code(code: &str) -> String {
    let (rest, last) = code.split_at(code.len().saturating_sub(1));
    let last = last.parse::<u8>().map_or(0, |digit| (digit + 1) % 10);
    format!("{rest}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_code_is_another_of_the_same_length() {
        assert_eq!(wrong_code("123456"), "123457");
        assert_eq!(wrong_code("123459"), "123450");
    }
}
