//! The channel contract over a real standard output: that of this same test program, started again
//! as a child with its output in a file or a pipe.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use wotp_channel_console::{Console, Output};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Channel, Outgoing, SendError};
use wotp_core::testing::channel::{self, Received};

/// How long a test waits for a state that has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Which part a child plays. Without it, [`the_child`] does nothing.
const PART: &str = "CONSOLE_TEST_PART";
/// The file that the child's standard output is.
const PRINTED: &str = "CONSOLE_TEST_PRINTED";

fn child(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a path"));
    command.args(["--exact", "the_child", "--test-threads=1", "--nocapture"]).env(PART, part).stderr(Stdio::piped());
    command
}

#[test]
fn a_console_keeps_the_contract() {
    let printed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-contract.txt");
    let file = std::fs::File::create(&printed).unwrap();
    let run = child("contract").env(PRINTED, &printed).stdout(file).output().unwrap();
    let all = std::fs::read_to_string(&printed).unwrap();
    assert!(run.status.success(), "{all}");
    assert!(all.contains("console: to=+12025550101 channel=console code=482913 text=\""), "{all}");
}

#[test]
fn a_reader_who_left_is_a_refusal_and_no_panic() {
    let mut child = child("broken-pipe").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The test runner prints before the child's part begins; only then may the reader leave.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    drop(lines);
    child.stdin.take().unwrap().write_all(b"the reader has left\n").unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success(), "{told}");
}

#[test]
fn nowhere_acknowledges_and_prints_nothing() {
    let run = child("nowhere").stdout(Stdio::piped()).output().unwrap();
    let all = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{all}");
    assert!(!all.contains("console:"), "{all}");
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nothing_but_its_own_lines() {
    let mut child = child("unread").stdout(Stdio::piped()).spawn().unwrap();
    let (tell, told) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| tell.send(line).unwrap_or(())));
    // It gets here with its pipe full, or its only thread hangs in a write.
    let Ok(accepted) = told.recv_timeout(PATIENCE) else {
        child.kill().unwrap();
        panic!("the runtime is held up");
    };
    let accepted: usize = accepted.strip_prefix("accepted ").expect(&accepted).parse().unwrap();
    let printed = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<String> =
        printed.filter_map(|line| line.find("console: ").map(|at| read(&line[at..]).text)).collect();
    let told: Vec<String> = told.iter().collect();
    assert!(child.wait().unwrap().success(), "{told:?}");
    // Not `assert_eq!`: nobody reads megabytes of difference.
    assert!(printed.iter().eq(&(0..accepted).map(numbered).collect::<Vec<_>>()), "{} of {accepted}", printed.len());
}

/// A text of four kilobytes, so that sixteen fill a pipe.
fn numbered(number: usize) -> String {
    format!("{number:4}").repeat(1024)
}

/// What a future says when it is asked once.
async fn now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

/// Sends until no more are taken; then the pipe is read, and all that were taken are printed.
async fn unread() {
    let console = Console::new(Output::Stdout).expect("the system gives a thread");
    let message = |text| Outgoing { text, ..channel::outgoing(AddressKind::Phone, 1) };
    let messages: Vec<Outgoing> = (0..10_000).map(|number| message(numbered(number))).collect();
    let (mut accepted, mut sending) = (0, Vec::new());
    // One whose caller has no more patience, behind so many that its turn cannot have come.
    let forgotten = message("forgotten".to_owned());
    for outgoing in &messages {
        if accepted == 500 {
            assert!(now(&mut console.send(&forgotten)).await.is_pending());
        }
        let mut send = console.send(outgoing);
        match now(&mut send).await {
            Poll::Pending => sending.push(send),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(SendError::Later { after, detail })) => {
                assert!(after.is_positive() && detail.contains("not read fast enough"), "{detail}");
                break;
            }
            Poll::Ready(Err(error)) => panic!("{error}"),
        }
        accepted += 1;
    }
    assert!((500..messages.len()).contains(&accepted), "{accepted} were taken");
    writeln!(std::io::stderr(), "accepted {accepted}").expect("the parent reads this pipe");
    for send in sending {
        send.await.expect("what was taken is printed");
    }
    assert_eq!(console.probe().await, Ok(()));
}

#[tokio::test]
async fn the_child() {
    match std::env::var(PART).unwrap_or_default().as_str() {
        "contract" => {
            let printed = std::env::var_os(PRINTED).expect("the parent says where the output goes");
            let inbox = || {
                let all = std::fs::read_to_string(&printed).expect("the parent made the file");
                all.lines().filter_map(|line| line.find("console: ").map(|at| read(&line[at..]))).collect()
            };
            channel::holds(&Console::new(Output::Stdout).unwrap(), inbox).await;
        }
        "broken-pipe" => {
            std::io::stdout().write_all(b"\nready\n").unwrap();
            let mut told = String::new();
            std::io::stdin().read_line(&mut told).unwrap();
            let console = Console::new(Output::Stdout).unwrap();
            let message = channel::outgoing(AddressKind::Phone, 1);
            let error = console.send(&message).await.unwrap_err();
            channel::tells_no_secret(&error, &message);
            let misconfigured = matches!(error, SendError::Refused { reason: DeliveryFailure::Misconfigured, .. });
            eprintln!("{error}");
            // Not by returning: the test runner would print that it passed, and there is no reader.
            std::process::exit(if misconfigured { 0 } else { 1 });
        }
        "unread" => unread().await,
        "nowhere" => {
            let console = Console::new(Output::Nowhere).unwrap();
            for kind in console.reaches() {
                console.send(&channel::outgoing(*kind, 1)).await.unwrap();
            }
            assert_eq!(console.probe().await, Ok(()));
        }
        _ => {}
    }
}

/// One line, as a person or a script reads it.
fn read(line: &str) -> Received {
    let (head, text) = line.split_once(" text=\"").expect("a line holds a text");
    let text = text.strip_suffix('"').expect("the text ends the line");
    let field = |name: &str| head.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(field("channel"), Some("console"));
    Received {
        to: field("to").expect("a line says to whom").to_owned(),
        text: unescape(text),
        code: field("code").map(str::to_owned),
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        assert_ne!(c, '"', "an open quote in {text}");
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c @ ('"' | '\\')) => c,
                other => panic!("unexpected escape {other:?} in {text}"),
            },
            c => c,
        });
    }
    plain
}
