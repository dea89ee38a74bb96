//! How long analytics take of a tenant with a million verifications.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;
use wotp_core::domain::rollup::Rollup;

use crate::api::{ApiError, Requests, Tenant};
use crate::client::{CallError, Client};
use crate::load::Latencies;
use crate::people::Store;
use crate::report::{Figure, Goal, Measured, Section};
use crate::rollups;
use crate::stand::{StandError, progress, wait_until_ready};

use super::values::{answer_latency, micros, middle, spread};
use super::{Suite, SuiteError};

/// How often each is asked in a round.
const TIMES: usize = 21;
/// To so many countries the verifications went.
const WORLDS: [usize; 2] = [10, 100];
/// What is asked: its name, over how many days, and how. What would be more groups than one answer holds is asked
/// over fewer days.
type Query = (&'static str, i64, &'static str);
const QUERIES: [Query; 8] = [
    ("days", 30, "interval=day"),
    ("days by service", 30, "interval=day&group_by=service"),
    ("days by channel", 30, "interval=day&group_by=channel"),
    ("days by country", 30, "interval=day&group_by=country"),
    ("days of one country", 30, "interval=day&country=DE"),
    ("hours", 30, "interval=hour"),
    ("hours by channel", 30, "interval=hour&group_by=channel"),
    ("hours of one country", 30, "interval=hour&country=DE"),
];
const OF_TEN: [Query; 2] = [
    ("days by all three", 30, "interval=day&group_by=service,channel,country"),
    ("hours by country, 20 days", 20, "interval=hour&group_by=country"),
];
const OF_MORE: [Query; 2] = [
    ("days by all three, 15 days", 15, "interval=day&group_by=service,channel,country"),
    ("hours by country, 2 days", 2, "interval=hour&group_by=country"),
];

/// An installation that is asked.
struct Asked {
    client: Client,
    requests: Requests,
}

impl Suite {
    pub(super) async fn analytics(&mut self) -> Result<Section, SuiteError> {
        let counted = self.plan.counted;
        let mut section = Section::new(
            "analytics",
            &format!("Analytics of a tenant with {counted} verifications in {} days", rollups::DAYS),
            &["store", "countries", "query", "groups", "answer", "first", "p50 (min–max)", "p95", "max"],
        );
        section.notes.push(
            "the rollups are counted by the platform's own counting from news of each verification and stored by its \
             store; the verifications themselves are not stored. Each hour has something of each of three channels \
             and of nearly each country, which is the most there can be. first: as it was asked first"
                .to_owned(),
        );
        for (store, countries) in Store::ALL.into_iter().flat_map(|store| WORLDS.map(|countries| (store, countries))) {
            progress(&format!("analytics: counting {counted} verifications for {}", store.name()));
            let began = Instant::now();
            let told =
                |rows: &[Rollup]| progress(&format!("{} rollups, {:.0} s", rows.len(), began.elapsed().as_secs_f64()));
            // Until the installation is dropped, its folders are there.
            match store {
                Store::Sqlite => {
                    let folder = self.stand.folder()?;
                    let tenant = self.stand.create_tenant(folder.path())?;
                    let rows = rollups::counted(&tenant, counted, countries, now())?;
                    rollups::store_in_folder(folder.path(), &rows).await?;
                    told(&rows);
                    let server = self.stand.serve(folder.path())?;
                    let asked = asked(server.address(), &tenant).await?;
                    self.ask(&mut section, (store, countries), asked).await?;
                }
                Store::MongoDb => {
                    let shared = self.stand.shared(1)?;
                    let rows = rollups::counted(&shared.tenants[0], counted, countries, now())?;
                    rollups::store_in_mongodb(&shared.servers.store_url(), &rows).await?;
                    told(&rows);
                    let node = self.stand.node(&shared, 0).await?;
                    let asked = asked(node.target.address, &shared.tenants[0]).await?;
                    self.ask(&mut section, (store, countries), asked).await?;
                }
            }
        }
        Ok(section)
    }

    async fn ask(
        &self,
        section: &mut Section,
        (store, countries): (Store, usize),
        mut asked: Asked,
    ) -> Result<(), SuiteError> {
        let mut slowest: Vec<f64> = vec![0.0; self.plan.rounds];
        let others = if countries > 10 { OF_MORE } else { OF_TEN };
        for (name, days, query) in QUERIES.into_iter().chain(others) {
            let from = now().saturating_sub(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::UNIX_EPOCH);
            let path = format!("/v1/analytics?from={from:.0}&{query}");
            // All but those to other countries, and of the oldest hours, which went by while they were stored.
            let hours = u64::try_from(24 * days - 2).unwrap_or(0);
            let least = if query.contains("country=") { 1 } else { self.plan.counted * hours / 720 };
            let (mut runs, mut size) = (Vec::new(), (0, 0));
            let (first, _) = asked.time(&path, least).await?;
            for (round, slowest) in (1..).zip(&mut slowest) {
                let (began, mut latencies) = (Instant::now(), Latencies::new());
                for _ in 0..TIMES {
                    let (micros, answer) = asked.time(&path, least).await?;
                    latencies.add(micros);
                    size = answer;
                }
                let subject = format!("{name}, {countries} countries, {}", store.name());
                let run = Measured::of_answers(&subject, round, began.elapsed(), &latencies);
                // What a month would be too many groups of is shown, and has no figure to reach.
                if days == rollups::DAYS {
                    *slowest = slowest.max(answer_latency(&run, |s| s.p95_micros) / 1e3);
                }
                runs.push(run);
            }
            let milliseconds = |run: &Measured| answer_latency(run, |s| s.p50_micros) / 1e3;
            section.table.row([
                store.name().to_owned(),
                countries.to_string(),
                name.to_owned(),
                size.0.to_string(),
                format!("{} kB", size.1 / 1000),
                micros(first as f64),
                format!("{} ms", spread(runs.iter().map(milliseconds)).show(1)),
                micros(middle(&runs, |run| answer_latency(run, |s| s.p95_micros))),
                micros(middle(&runs, |run| answer_latency(run, |s| s.max_micros))),
            ]);
            section.runs.extend(runs);
        }
        section.figures.push(Figure::new(
            &format!("30 days of analytics, {countries} countries, {}: p95 of the slowest query", store.name()),
            Goal::AtMost(50.0),
            spread(slowest),
            "ms",
            true,
        ));
        Ok(())
    }
}

/// What an answer says that counts all of what was asked for.
#[derive(Deserialize)]
struct Answer {
    totals: Totals,
    data: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Totals {
    started: u64,
}

impl Asked {
    /// Microseconds that an answer took; its groups and bytes. It has counted at least so many verifications.
    async fn time(&mut self, path: &str, least: u64) -> Result<(u64, (usize, usize)), ApiError> {
        let sent = Instant::now();
        let reply = self.client.call(self.requests.get(&[path])).await?;
        let micros = crate::load::micros_since(sent);
        if reply.status != 200 {
            return Err(ApiError::refused("analytics", reply.status, reply.body));
        }
        match serde_json::from_slice::<Answer>(reply.body) {
            Ok(answer) if answer.totals.started >= least && !answer.data.is_empty() => {
                Ok((micros, (answer.data.len(), reply.body.len())))
            }
            _ => Err(ApiError::incomplete("analytics", "all that was counted", reply.body)),
        }
    }
}

async fn asked(address: std::net::SocketAddr, tenant: &Tenant) -> Result<Asked, SuiteError> {
    wait_until_ready(address).await?;
    let client = Client::connect(address).await.map_err(CallError::from).map_err(ApiError::from);
    let client = client.map_err(StandError::from)?;
    Ok(Asked { client, requests: Requests::new(address, Some(&tenant.live_key)) })
}

#[expect(clippy::disallowed_methods, reason = "the server that is asked goes by the machine's time")]
fn now() -> Timestamp {
    Timestamp::now()
}
