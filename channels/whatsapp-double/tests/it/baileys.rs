//! The program, with a client that is neither ours nor of our library's family at the other end.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::within;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wotp-whatsapp-double");

/// Where `.ci/prerequisites` installs what tests use of npm.
fn installed() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("wotp/npm")
}

/// The program as it runs, and where its admin API is.
async fn started() -> (Child, String) {
    let mut program = Command::new(PROGRAM).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut line = async || within("what it prints", lines.next_line()).await.unwrap().unwrap();
    assert!(line().await.starts_with("clients ws://127.0.0.1:"));
    let admin = line().await;
    (program, admin.strip_prefix("admin listening on ").unwrap().to_owned())
}

#[tokio::test]
async fn baileys_links_itself_sends_receives_and_logs_out() {
    let (mut program, admin) = started().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/baileys/link.mjs");
    let client = Command::new("node").arg(script).arg(installed()).arg(admin).kill_on_drop(true).output();
    let output = within("Baileys", client).await.expect("`make test` installs it");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    program.kill().await.unwrap();
}

#[tokio::test]
async fn the_program_says_what_it_is_and_listens_on_this_machine_only() {
    let help = Command::new(PROGRAM).arg("--help").output().await.unwrap();
    let said = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    for said_in_help in ["A WhatsApp of its own, for tests", "--listen <ADDRESS>", "--admin <ADDRESS>"] {
        assert!(said.contains(said_in_help), "{said}");
    }
    let refused = Command::new(PROGRAM).args(["--admin", "0.0.0.0:0"]).output().await.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only an address of this machine"));
}
