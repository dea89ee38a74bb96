//! One client's connection, from its opening to its end.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use wacore_binary::marshal::{marshal, unmarshal_ref};
use wacore_binary::{Node, util};

use crate::double::Shared;
use crate::error::{Error, Result};
use crate::noise::{Channel, Greeting, greet};
use crate::people::{Line, Outgoing};
use crate::session::Caller;
use crate::wire::Wire;

/// Serves a client until either side ends it.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream) -> Result<()> {
    let mut wire = Wire::accept(stream).await?;
    let Greeting { mut channel, client_key, payload, short } =
        greet(&mut wire, &shared.certificate).await.inspect_err(|error| {
            if matches!(error, Error::CertificateRefused) {
                shared.was_refused();
            }
        })?;
    let (line, mut outgoing) = Line::new();
    let caller = shared.world.lock().await.welcome(&payload, client_key, short, &line);
    shared.changed();
    let ended = converse(&shared, caller.as_ref(), &line, &mut wire, &mut channel, &mut outgoing).await;
    shared.world.lock().await.hang_up(&line);
    shared.changed();
    ended
}

async fn converse(
    shared: &Arc<Shared>,
    caller: Option<&Caller>,
    line: &Line,
    wire: &mut Wire,
    channel: &mut Channel,
    outgoing: &mut UnboundedReceiver<Outgoing>,
) -> Result<()> {
    loop {
        tokio::select! {
            // In the order that things were said in: what was to be sent before something came in goes first.
            biased;
            told = outgoing.recv() => match told {
                Some(Outgoing::Stanza(stanza)) => {
                    let bytes = marshal(&stanza).map_err(Error::crypto)?;
                    wire.send(&channel.encrypt(&bytes)?).await?;
                }
                Some(Outgoing::Close) => return wire.close().await,
                Some(Outgoing::Cut) | None => return Ok(()),
            },
            frame = wire.frame() => {
                let Some(frame) = frame? else { return Ok(()) };
                let stanza = read(channel.decrypt(frame)?)?;
                // Whoever was refused has nothing more to say.
                if let Some(caller) = caller {
                    let handled = shared.world.lock().await.on_stanza(shared, caller, line, &stanza).await;
                    if let Err(error) = handled {
                        tracing::warn!(stanza = &*stanza.tag, error = &error as &dyn std::error::Error, "not handled");
                    }
                    shared.changed();
                }
            }
        }
    }
}

fn read(frame: BytesMut) -> Result<Node> {
    let unpacked = util::unpack(&frame).map_err(Error::crypto)?;
    Ok(unmarshal_ref(&unpacked).map_err(Error::crypto)?.to_owned())
}
