//! `wotp-whatsapp-double`: the double as a program of its own.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;

use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use wotp_whatsapp_double::{Double, admin};

/// A WhatsApp of its own, for tests: clients link themselves to it and send, and everybody they write to is played.
///
/// It prints where clients connect and where its admin API is, and runs until it is ended. The admin API scans a QR or
/// types a code, lists what people received, writes to a client, sends receipts, and lets things go wrong; the README
/// beside its sources lists it. Nothing is kept: what it knows goes when it ends.
///
/// Clients have to be told not to check the server's certificate, or to check it against the root that `GET /` of the
/// admin API tells. RUST_LOG=debug says more.
#[derive(Parser)]
#[command(name = "wotp-whatsapp-double", version)]
struct Arguments {
    /// Where clients connect: an address of this machine only. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = loopback)]
    listen: SocketAddr,
    /// Where the admin API is: an address of this machine only. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = loopback)]
    admin: SocketAddr,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "an address and a port, as in 127.0.0.1:7788".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only an address of this machine, as in 127.0.0.1: whoever reaches it controls it".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    let double = Double::start_at(arguments.listen).await?;
    let listener = TcpListener::bind(arguments.admin).await?;
    writeln!(std::io::stdout(), "clients {}\nadmin listening on http://{}", double.url(), listener.local_addr()?)?;
    axum::serve(listener, admin::router(double)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_listened_at() {
        assert!(loopback("127.0.0.1:0").is_ok());
        assert!(loopback("[::1]:7788").is_ok());
        assert!(loopback("0.0.0.0:7788").is_err());
        assert!(loopback("192.0.2.1:7788").is_err());
        assert!(loopback("localhost").is_err());
    }
}
