use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::Timestamp;
use wotp_core::domain::node::Node;

use super::failure::Failure;
use super::{Global, output};
use crate::wiring::Others;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the nodes that share the store, oldest first
    List,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let Command::List = command;
    let (_, wired) = global.open().await?;
    if matches!(wired.others, Others::None(_)) {
        return Err(Failure::new("this installation has a database file of its own, and so one server at most")
            .help("`wotp doctor` says whether it runs; nodes are those that share a MongoDB"));
    }
    let ports = wired.app.ports();
    let now = ports.clock.now();
    let nodes = ports.store.nodes().await.map_err(Refusal::from)?;
    let machines = json!({ "nodes": nodes.iter().map(|node| shown(node, now)).collect::<Vec<_>>() });
    global.output().print(&machines, || {
        if nodes.is_empty() {
            return "no node runs; `wotp serve` starts one".to_owned();
        }
        let row = |node: &Node| {
            vec![
                node.id.to_string(),
                node.status(now).to_owned(),
                node.role.name().to_owned(),
                node.host.clone(),
                node.version.clone(),
                node.started_at.to_string(),
                format!("{} s ago", now.duration_since(node.seen_at).as_secs().max(0)),
            ]
        };
        output::table(
            &["id", "status", "role", "host", "version", "started", "seen"],
            &nodes.iter().map(row).collect::<Vec<_>>(),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn shown(node: &Node, now: Timestamp) -> serde_json::Value {
    json!({
        "id": node.id,
        "status": node.status(now),
        "role": node.role,
        "host": node.host,
        "version": node.version,
        "started_at": node.started_at,
        "seen_at": node.seen_at,
    })
}
