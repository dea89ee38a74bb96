//! Redis servers that belong together: Sentinels with what they watch over, and a Cluster.

use std::process::Child;

use tempfile::TempDir;

use crate::process::{self, free_port, on_free_port, scratch, until};
use crate::redis::{Redis, command, run};

/// What the Sentinels call the master.
const NAME: &str = "main";
/// The slots of a Cluster.
const SLOTS: usize = 16_384;

/// A master, a replica, and Sentinels who make that the master within about two seconds when the first
/// dies.
pub struct Sentinels {
    servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    port: u16,
    child: Child,
    /// Where it keeps what it knows.
    _folder: TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

impl Sentinels {
    /// So many Sentinels, of whom most must agree that a master is gone.
    pub fn start(sentinels: usize) -> Self {
        // Else a master waits five seconds for more replicas before it gives the first its data.
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let master = Redis::start_with(&at_once);
        let replica =
            Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port()), at_once[0], at_once[1]]);
        let quorum = sentinels / 2 + 1;
        let lines = [
            format!("sentinel monitor {NAME} 127.0.0.1 {} {quorum}", master.port()),
            format!("sentinel down-after-milliseconds {NAME} 500"),
            format!("sentinel failover-timeout {NAME} 3000"),
        ];
        let sentinels = (0..sentinels).map(|_| Sentinel::start(&lines)).collect();
        let set = Self { servers: [master, replica], sentinels };
        until("the replica is as the master", || {
            set.servers[0].command(&["INFO", "replication"]).contains("state=online").then_some(())
        });
        // They know of the replica, and of each other, without which they elect nobody.
        let others = format!("num-other-sentinels\r\n$1\r\n{}\r\n", set.sentinels.len() - 1);
        until("the Sentinels know whom they watch over", || {
            let knows = |sentinel: &Sentinel| {
                let master = command(sentinel.port, &["SENTINEL", "MASTER", NAME]).unwrap_or_default();
                master.contains(&others) && master.contains("num-slaves\r\n$1\r\n1\r\n")
            };
            set.sentinels.iter().all(knows).then_some(())
        });
        set
    }

    /// Where the Sentinels are, as in `127.0.0.1:26379,127.0.0.1:26380/main`.
    pub fn address(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("{}/{NAME}", hosts.join(","))
    }

    /// From now on the Sentinels ask for a password, and the servers for none.
    pub fn ask_for(&self, password: &str) {
        for sentinel in &self.sentinels {
            let answer = command(sentinel.port, &["ACL", "SETUSER", "default", "resetpass", &format!(">{password}")]);
            assert_eq!(answer.expect("it answers"), "+OK\r\n");
        }
    }

    /// What is the master at first.
    pub fn master(&mut self) -> &mut Redis {
        &mut self.servers[0]
    }

    /// What is the replica at first.
    pub fn replica(&self) -> &Redis {
        &self.servers[1]
    }
}

impl Sentinel {
    fn start(lines: &[String]) -> Self {
        let folder = scratch("sentinel");
        let file = folder.path().join("sentinel.conf");
        let (port, child) = on_free_port(|port| {
            let place = folder.path().display();
            let own = format!("port {port}\nbind 127.0.0.1\ndir {place}\n{}\n", lines.join("\n"));
            std::fs::write(&file, own).expect("the folder can be written to");
            let arguments = [file.to_str().expect("a temporary folder has a plain name"), "--sentinel"];
            run(port, &arguments.map(str::to_owned))
        });
        Self { port, child, _folder: folder }
    }
}

/// Three masters that share the keys.
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// A Cluster that is in order.
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                // The port that nodes speak to each other on would else be one that nobody looked at.
                let bus = free_port().to_string();
                Redis::start_with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "1000",
                ])
            })
            .collect();
        for (n, node) in nodes.iter().enumerate() {
            let slots = [n * SLOTS / nodes.len(), (n + 1) * SLOTS / nodes.len() - 1].map(|slot| slot.to_string());
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]]);
        }
        for node in &nodes[1..] {
            let bus = node.command(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().last().expect("it has one");
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        let whole = |node: &Redis| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        until("the Cluster is in order", || nodes.iter().all(whole).then_some(()));
        Self { nodes }
    }

    /// Where its nodes are, as in `127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002`.
    pub fn address(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        hosts.join(",")
    }

    /// One node.
    pub fn node(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_make_the_replica_the_master() {
        let mut set = Sentinels::start(3);
        set.master().kill();
        // Whoever is connected when the Sentinels make it the master is cut off by them.
        let role = |set: &Sentinels| command(set.replica().port(), &["ROLE"]).unwrap_or_default();
        until("the replica is the master", || role(&set).contains("master").then_some(()));
    }

    #[test]
    fn a_cluster_is_in_order() {
        let mut cluster = RedisCluster::start();
        assert!(cluster.node(2).command(&["CLUSTER", "INFO"]).contains("cluster_slots_assigned:16384"));
    }
}
