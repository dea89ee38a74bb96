//! A MongoDB of a version that is not to be had any more, as far as its greeting.

use std::io::{Error, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use mongodb::bson::{DateTime, Document, doc};

/// Source: MongoDB wire protocol, opcodes `OP_REPLY`, `OP_QUERY` and `OP_MSG`.
const REPLY: i32 = 1;
const QUERY: i32 = 2004;
const MESSAGE: i32 = 2013;

/// Greets as the primary of a replica set does, and answers nothing else. Goes with the test.
pub struct Greeter {
    address: String,
}

impl Greeter {
    /// One that speaks the wire protocol up to `wire_version`: 13 is MongoDB 5.0, 17 is 6.0.
    pub fn start(wire_version: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let hello = doc! {
            "ok": 1.0, "helloOk": true, "isWritablePrimary": true, "ismaster": true, "secondary": false,
            "setName": "rs0", "setVersion": 1, "hosts": [&address], "primary": &address, "me": &address,
            "minWireVersion": 0, "maxWireVersion": wire_version, "localTime": DateTime::MIN, "readOnly": false,
            "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let hello = hello.clone();
                // Until the client has had enough.
                std::thread::spawn(move || while greet(&client, &hello).is_ok() {});
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Reads one request, and greets.
fn greet(mut client: &TcpStream, hello: &Document) -> Result<(), Error> {
    let mut head = [0; 16];
    client.read_exact(&mut head)?;
    let number = |at: usize| i32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (length, request, opcode) = (number(0), number(4), number(12));
    let mut body = vec![0; usize::try_from(length).expect("a length") - head.len()];
    client.read_exact(&mut body)?;
    let said = hello.to_vec().expect("a document has bytes");
    let (opcode, before) = match opcode {
        // No flags, no cursor, from the first on, one document.
        QUERY => (REPLY, [[0; 16].as_slice(), &1i32.to_le_bytes()].concat()),
        // No flags; one section, of one document.
        MESSAGE => (MESSAGE, vec![0; 5]),
        other => panic!("a client of today does not send the opcode {other}"),
    };
    let length = i32::try_from(16 + before.len() + said.len()).expect("a greeting is short");
    let head = [length, 0, request, opcode].map(i32::to_le_bytes).concat();
    client.write_all(&[head, before, said].concat())
}
