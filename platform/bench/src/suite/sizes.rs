//! What a life cycle costs where much is stored already.

use std::path::Path;

use tempfile::TempDir;

use crate::api::Tenant;
use crate::load::Bound;
use crate::preload::preload;
use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::{Side, Stand, folder_bytes, progress, target};

use super::values::{
    check_latency, clean, early, failures, megabytes, micros, middle, note_failures, ratios, start_latency, whole,
};
use super::{EARLY, Suite, SuiteError};

impl Suite {
    pub(super) async fn sizes(&mut self) -> Result<Section, SuiteError> {
        let callers = self.plan.reference();
        let mut section = Section::new(
            "sizes",
            &format!("Cost of a life cycle with much already stored, at {callers} callers"),
            &[
                "tenants",
                "stored",
                "file",
                "cycles/s",
                "CPU each",
                "against the least (min–max)",
                "start p99",
                "check p99",
                "resident",
                "early",
                "failed",
            ],
        );
        section.notes.push(EARLY.to_owned());
        for &tenants in &self.plan.tenants {
            let mut folders = Vec::new();
            for &stored in &self.plan.sizes {
                progress(&format!("sizes: storing {stored} verifications of {tenants} tenants"));
                let folder = self.stand.folder()?;
                let known = preload(folder.path(), tenants, stored)?;
                folders.push((stored, folder, known, Vec::new()));
            }
            for round in 1..=self.plan.rounds {
                for (stored, folder, known, runs) in &mut folders {
                    let label = format!("{stored} stored, {tenants} tenants");
                    // The runs themselves store more. That is nothing beside a million and much
                    // beside a thousand, so small stores are used once: on a copy.
                    let copy = (*stored < 1_000_000).then(|| self.stand.copy(folder.path())).transpose()?;
                    let data = copy.as_ref().map_or(folder.path(), TempDir::path);
                    runs.push(self.cost_at_size(data, known, &label, callers, round).await?);
                }
            }
            let least: Vec<Measured> = folders.first().map(|(_, _, _, runs)| runs.clone()).unwrap_or_default();
            for (stored, folder, _, runs) in folders {
                let against = ratios(&runs, &least, |run| run.server_cpu_micros);
                section.table.row([
                    tenants.to_string(),
                    stored.to_string(),
                    megabytes(folder_bytes(folder.path())? as f64),
                    whole(&runs, |run| run.per_second),
                    micros(middle(&runs, |run| run.server_cpu_micros)),
                    against.show(2),
                    micros(middle(&runs, |run| start_latency(run, |s| s.p99_micros))),
                    micros(middle(&runs, |run| check_latency(run, |s| s.p99_micros))),
                    megabytes(middle(&runs, |run| run.memory.resident_bytes as f64)),
                    early(&runs).to_string(),
                    failures(&runs).to_string(),
                ]);
                if Some(&stored) == self.plan.sizes.last() {
                    section.figures.push(Figure::new(
                        &format!("cost of a life cycle with {stored} stored, {tenants} tenants"),
                        Goal::AtMost(1.2),
                        against,
                        "",
                        clean(&runs),
                    ));
                }
                section.runs.extend(runs);
            }
        }
        note_failures(&mut section);
        Ok(section)
    }

    async fn cost_at_size(
        &self,
        data: &Path,
        known: &[Tenant],
        label: &str,
        callers: usize,
        round: usize,
    ) -> Result<Measured, SuiteError> {
        let made;
        let tenants = match known {
            [] => {
                made = [self.stand.create_tenant(data)?];
                &made
            }
            known => known,
        };
        let server = self.stand.serve(data)?;
        let mode = Stand::ready(&server, tenants).await?;
        let keys = tenants.iter().map(|tenant| tenant.live_key.clone()).collect();
        let side = Side { target: target(&server), keys, delivers: true };
        let warm = Bound::Count(self.plan.life_cycles / 8 + 1);
        self.cycles(&side, mode, callers, 0, warm).await?;
        let bound = Bound::Count(self.plan.life_cycles);
        let mut run = self.cycles(&side, mode, callers, round, bound).await?;
        server.stop().await;
        label.clone_into(&mut run.subject);
        Ok(run)
    }
}
