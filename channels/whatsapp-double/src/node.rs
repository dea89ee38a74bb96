//! Reading and writing stanzas: a little over what the binary codec offers.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent};

use crate::error::{Error, Result};

/// The server's own address, which what it asks and answers comes from.
pub(crate) const SERVER: &str = "s.whatsapp.net";

/// Shorthands for what every handler reads of a stanza.
pub(crate) trait Read {
    /// The attribute as text, empty where it is missing.
    fn text(&self, name: &str) -> String;
    /// The attribute as text.
    fn maybe(&self, name: &str) -> Option<String>;
    /// The attribute as an address.
    fn jid(&self, name: &str) -> Result<Jid>;
    /// The content as bytes, empty where it is something else.
    fn content(&self) -> Vec<u8>;
    /// The content of a child as bytes, empty where there is none.
    fn child(&self, tag: &str) -> Vec<u8>;
    /// What must be there.
    fn required(&self, tag: &str) -> Result<&Node>;
    /// The tag of the first child, empty where there is none.
    fn first(&self) -> &str;
}

impl Read for Node {
    fn text(&self, name: &str) -> String {
        self.maybe(name).unwrap_or_default()
    }

    fn maybe(&self, name: &str) -> Option<String> {
        self.attrs.get(name).map(|value| value.as_str().into_owned())
    }

    fn jid(&self, name: &str) -> Result<Jid> {
        self.text(name).parse().map_err(|_| Error::Malformed("an attribute is no address"))
    }

    fn content(&self) -> Vec<u8> {
        match &self.content {
            Some(NodeContent::Bytes(bytes)) => bytes.to_vec(),
            Some(NodeContent::String(text)) => text.as_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    fn child(&self, tag: &str) -> Vec<u8> {
        self.get_optional_child(tag).map(Read::content).unwrap_or_default()
    }

    fn required(&self, tag: &str) -> Result<&Node> {
        self.get_optional_child(tag).ok_or(Error::Malformed("a child is missing"))
    }

    fn first(&self) -> &str {
        self.children().and_then(|children| children.first()).map_or("", |child| &child.tag)
    }
}

/// A number of up to four bytes, the most significant first.
pub(crate) fn unsigned(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

/// Exactly 32 bytes: a public key.
pub(crate) fn key(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| Error::Malformed("a key is not 32 bytes"))
}

/// A stanza with content.
pub(crate) fn leaf(tag: &'static str, content: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(content).build()
}

/// A stanza with children and nothing else.
pub(crate) fn parent(tag: &'static str, children: impl IntoIterator<Item = Node>) -> Node {
    NodeBuilder::new(tag).children(children).build()
}

/// A question of the server's.
pub(crate) fn ask(id: &str, namespace: &'static str, child: Node) -> Node {
    NodeBuilder::new("iq")
        .attr("from", SERVER)
        .attr("type", "set")
        .attr("id", id)
        .attr("xmlns", namespace)
        .attr("t", crate::clock::now_seconds().to_string())
        .children([child])
        .build()
}

/// The answer to a question.
pub(crate) fn answer(id: &str, children: Vec<Node>) -> Node {
    let answer = NodeBuilder::new("iq").attr("from", SERVER).attr("type", "result").attr("id", id);
    if children.is_empty() { answer.build() } else { answer.children(children).build() }
}

/// The answer to a question that is refused.
pub(crate) fn refusal(id: &str, code: u16, text: &str) -> Node {
    let error = NodeBuilder::new("error").attr("code", code.to_string()).attr("text", text).build();
    NodeBuilder::new("iq").attr("from", SERVER).attr("type", "error").attr("id", id).children([error]).build()
}
