//! How long analytics take of a tenant with a million verifications.

use tokio::time::Instant;

use crate::api::{ApiError, Requests, Tenant};
use crate::client::{CallError, Client};
use crate::load::Latencies;
use crate::people::Store;
use crate::report::{Figure, Goal, Measured, Section};
use crate::rollups;
use crate::stand::{StandError, progress, wait_until_ready};
use jiff::{SignedDuration, Timestamp};

use super::values::{answer_latency, micros, middle, spread};
use super::{Suite, SuiteError};

/// How often each is asked in a round.
const TIMES: usize = 21;
/// What is asked. By hour and country, thirty days would be more groups than one answer holds.
const QUERIES: [(&str, i64, &str); 9] = [
    ("days", 30, "interval=day"),
    ("days by service", 30, "interval=day&group_by=service"),
    ("days by channel", 30, "interval=day&group_by=channel"),
    ("days by country", 30, "interval=day&group_by=country"),
    ("days by all three", 30, "interval=day&group_by=service,channel,country"),
    ("hours", 30, "interval=hour"),
    ("hours by service", 30, "interval=hour&group_by=service"),
    ("hours by channel", 30, "interval=hour&group_by=channel"),
    ("hours by country, 20 days", 20, "interval=hour&group_by=country"),
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
            &["store", "query", "groups", "answer", "p50 (min–max)", "p95", "max"],
        );
        for store in Store::ALL {
            progress(&format!("analytics: counting {counted} verifications for {}", store.name()));
            let began = Instant::now();
            // Until the installation is dropped, its folders are there.
            match store {
                Store::Sqlite => {
                    let folder = self.stand.folder()?;
                    let tenant = self.stand.create_tenant(folder.path())?;
                    let rows = rollups::counted(&tenant, counted, now())?;
                    rollups::store_in_folder(folder.path(), &rows).await?;
                    progress(&format!("{} rollups, {:.0} s", rows.len(), began.elapsed().as_secs_f64()));
                    let server = self.stand.serve(folder.path())?;
                    let asked = asked(server.address(), &tenant).await?;
                    self.ask(&mut section, store, asked, rows.len()).await?;
                }
                Store::MongoDb => {
                    let shared = self.stand.shared(1)?;
                    let rows = rollups::counted(&shared.tenants[0], counted, now())?;
                    rollups::store_in_mongodb(&shared.servers.store_url(), &rows).await?;
                    progress(&format!("{} rollups, {:.0} s", rows.len(), began.elapsed().as_secs_f64()));
                    let node = self.stand.node(&shared, 0).await?;
                    let asked = asked(node.target.address, &shared.tenants[0]).await?;
                    self.ask(&mut section, store, asked, rows.len()).await?;
                }
            }
        }
        Ok(section)
    }

    async fn ask(
        &self,
        section: &mut Section,
        store: Store,
        mut asked: Asked,
        rollups: usize,
    ) -> Result<(), SuiteError> {
        section.notes.push(format!(
            "{}: {rollups} rollups, counted by the platform's own counting from news of each verification and stored \
             by its store; the verifications themselves are not stored",
            store.name()
        ));
        let mut slowest: Vec<f64> = vec![0.0; self.plan.rounds];
        for (name, days, query) in QUERIES {
            let from = now().saturating_sub(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::UNIX_EPOCH);
            let path = format!("/v1/analytics?from={from:.0}&{query}");
            let (mut runs, mut size) = (Vec::new(), (0, 0));
            // What is asked first finds caches cold, as none of the others does.
            asked.time(&path).await?;
            for (round, slowest) in (1..).zip(&mut slowest) {
                let (began, mut latencies) = (Instant::now(), Latencies::new());
                for _ in 0..TIMES {
                    let (micros, answer) = asked.time(&path).await?;
                    latencies.add(micros);
                    size = answer;
                }
                let subject = format!("{name}, {}", store.name());
                let run = Measured::of_answers(&subject, round, began.elapsed(), &latencies);
                *slowest = slowest.max(answer_latency(&run, |s| s.p95_micros) / 1e3);
                runs.push(run);
            }
            let milliseconds = |run: &Measured| answer_latency(run, |s| s.p50_micros) / 1e3;
            section.table.row([
                store.name().to_owned(),
                name.to_owned(),
                size.0.to_string(),
                format!("{} kB", size.1 / 1000),
                format!("{} ms", spread(runs.iter().map(milliseconds)).show(1)),
                micros(middle(&runs, |run| answer_latency(run, |s| s.p95_micros))),
                micros(middle(&runs, |run| answer_latency(run, |s| s.max_micros))),
            ]);
            section.runs.extend(runs);
        }
        section.figures.push(Figure::new(
            &format!("30 days of analytics over {}, p95 of the slowest query", store.name()),
            Goal::AtMost(50.0),
            spread(slowest),
            "ms",
            true,
        ));
        Ok(())
    }
}

impl Asked {
    /// Microseconds that an answer took; its groups and bytes.
    async fn time(&mut self, path: &str) -> Result<(u64, (usize, usize)), ApiError> {
        let sent = Instant::now();
        let reply = self.client.call(self.requests.get(&[path])).await?;
        let micros = crate::load::micros_since(sent);
        if reply.status != 200 {
            return Err(ApiError::refused("analytics", reply.status, reply.body));
        }
        let groups = reply.body.windows(13).filter(|window| window == b"\"starts_at\":\"").count();
        Ok((micros, (groups, reply.body.len())))
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
