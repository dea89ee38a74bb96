//! What a plugin costs that the same channel built in does not, what it takes of the machine, and how long many take to
//! load.

use crate::plugins::{Comparison, Flood, Gateway, Loaded, Order, PluginsError, Provider, Turn, Way};
use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;

use super::values::{megabytes, micros, middle, spread};
use super::{Suite, SuiteError};

/// Deliveries under way at once, where they wait for a provider.
const CALLERS: usize = 16;
/// Deliveries before memory is looked at first, at most.
const WARM_UP: u64 = 20_000;
/// A delivery through a plugin of this language may take so much more of the processor than without one, in microseconds.
const OVERHEAD_MAX: [(&str, f64); 2] = [("Rust", 100.0), ("JavaScript", 600.0)];

impl Suite {
    pub(super) async fn plugins(&mut self) -> Result<Section, SuiteError> {
        let mut section = Section::new(
            "plugins",
            "Deliveries through plugins: processor time, each on one thread",
            &["plugin", "in", "provider", "built in", "plugin", "overhead (min–max)", "deliveries"],
        );
        section.notes.push(format!(
            "built in: the same request by the same client, seen to be the same, and the same look at the answer. over \
             HTTP: a connection to loopback for each, {CALLERS} at once; the provider's own time is not counted. answers \
             at once: the client is replaced by one that has the answer"
        ));
        let gateway = Gateway::start().await.map_err(PluginsError::from)?;
        let http = Way::Http { at: gateway.address(), callers: CALLERS };
        for provider in self.plan.providers.iter().copied().map(Some).chain([None]) {
            let name = provider.map_or("none (takes all for sent)", Provider::component);
            let ways = if provider.is_some() { vec![http, Way::AtOnce] } else { vec![Way::AtOnce] };
            progress(&format!("plugins: {name}"));
            let order = Order::Compare {
                components: self.plan.components()?,
                provider,
                ways: ways.clone(),
                seconds: self.plan.seconds,
                rounds: self.plan.rounds,
            };
            let comparisons: Vec<Comparison> = order.carried_out().await?;
            for (way, comparison) in ways.into_iter().zip(&comparisons) {
                compared(&mut section, (provider, name, way), comparison);
            }
        }
        drop(gateway);
        self.flood(&mut section).await?;
        self.load(&mut section).await?;
        Ok(section)
    }

    /// Many deliveries without a call.
    async fn flood(&self, section: &mut Section) -> Result<(), SuiteError> {
        let count = self.plan.plugin_deliveries;
        progress(&format!("plugins: {count} deliveries"));
        let order = Order::Flood { components: self.plan.components()?, warm_up: WARM_UP.min(count), count };
        let flood: Flood = order.carried_out().await?;
        let most = flood.later_bytes.iter().copied().max().unwrap_or(flood.warm_bytes);
        let grown = (most as f64 - flood.warm_bytes as f64) / 1e6;
        section.notes.push(format!(
            "{} deliveries without a request in {:.1} s, {:.1} s of the processor; memory {} before them, at most {} \
             at each tenth of them, {} at the end",
            flood.turn.done,
            flood.turn.wall_seconds,
            flood.turn.cpu_seconds,
            megabytes(flood.warm_bytes as f64),
            megabytes(most as f64),
            megabytes(flood.later_bytes.last().copied().unwrap_or(0) as f64),
        ));
        let of_one = |value| spread([value]);
        section.figures.extend([
            Figure::new(
                "deliveries a second through a plugin in Rust that makes no request, one core",
                Goal::AtLeast(10_000.0),
                of_one(flood.turn.done as f64 / flood.turn.cpu_seconds),
                "",
                true,
            ),
            Figure::new(
                &format!("growth of memory over {count} deliveries, after {} to warm up", WARM_UP.min(count)),
                Goal::AtMost(1.0),
                of_one(grown),
                "MB",
                true,
            ),
        ]);
        section.runs.push(measured("no request, many", 1, &flood.turn));
        Ok(())
    }

    /// Installed plugins, loaded anew.
    async fn load(&self, section: &mut Section) -> Result<(), SuiteError> {
        let count = self.plan.plugins;
        progress(&format!("plugins: installing {count}"));
        let folder = self.stand.folder()?;
        let order = Order::Load {
            components: self.plan.components()?,
            providers: vec![Provider::GenericHttp, Provider::TwilioSms, Provider::VonageSms],
            folder: folder.path().to_owned(),
            count,
        };
        let mut rounds: Vec<Loaded> = Vec::with_capacity(self.plan.rounds);
        for _ in 0..self.plan.rounds {
            rounds.push(order.carried_out().await?);
        }
        let seconds = spread(rounds.iter().map(|loaded| loaded.wall_seconds));
        if let Some(loaded) = rounds.last() {
            section.notes.push(format!(
                "{count} installed plugins, a third of them in JavaScript ({}, compiled {}), loaded in {} s, {:.2} s of the processor: read, \
                 verified, asked what they are and about their settings",
                megabytes(loaded.component_bytes as f64),
                megabytes(loaded.compiled_bytes as f64),
                seconds.show(3),
                loaded.cpu_seconds,
            ));
        }
        let name = format!("loading {count} installed plugins, a third of them in JavaScript, compiled before");
        section.figures.push(Figure::new(&name, Goal::AtMost(1.0), seconds, "s", true));
        Ok(())
    }
}

/// Notes what a plugin took by one way, and what the same took that is built in.
fn compared(section: &mut Section, (provider, name, way): (Option<Provider>, &str, Way), of: &Comparison) {
    let language = provider.map_or("Rust", Provider::language);
    let is_http = matches!(way, Way::Http { .. });
    let way = match provider {
        None => "no request",
        Some(_) if is_http => "over HTTP",
        Some(_) => "answers at once",
    };
    let overhead = of.plugin.iter().zip(&of.built_in);
    let overhead = spread(overhead.map(|(plugin, built_in)| plugin.micros_each() - built_in.micros_each()));
    let runs = |subject: &str, turns: &[Turn]| -> Vec<Measured> {
        (1..).zip(turns).map(|(round, turn)| measured(&format!("{name}, {way}, {subject}"), round, turn)).collect()
    };
    let (built_in, plugin) = (runs("built in", &of.built_in), runs("plugin", &of.plugin));
    section.table.row([
        name.to_owned(),
        language.to_owned(),
        way.to_owned(),
        micros(middle(&built_in, |run| run.server_cpu_micros)),
        micros(middle(&plugin, |run| run.server_cpu_micros)),
        format!("{} µs", overhead.show(0)),
        plugin.iter().map(|run| run.done).sum::<u64>().to_string(),
    ]);
    let most = OVERHEAD_MAX.iter().find(|(of, _)| is_http && *of == language);
    if let Some((_, most)) = most {
        section.figures.push(Figure::new(
            &format!("overhead of a plugin in {language} ({name}): processor time of a delivery"),
            Goal::AtMost(*most),
            overhead,
            "µs",
            true,
        ));
    }
    section.runs.extend(built_in.into_iter().chain(plugin));
}

fn measured(subject: &str, round: usize, turn: &Turn) -> Measured {
    let wall = std::time::Duration::from_secs_f64(turn.wall_seconds);
    Measured {
        done: turn.done,
        per_second: turn.done as f64 / turn.wall_seconds,
        server_cpu_micros: turn.micros_each(),
        ..Measured::nothing(subject, 1, round, wall)
    }
}
