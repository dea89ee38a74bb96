//! What an account may do, asked in the query language that WhatsApp calls MEX.

use serde_json::{Value, json};
use wacore_binary::Node;

use crate::error::Result;
use crate::node::{Read as _, leaf};
use crate::people::{Address, World};

/// Whether the account is time-locked. Source: WhatsApp Web, `WAWebMexFetchReachoutTimelockJobQuery`.
const TIME_LOCK: &str = "23983697327930364";
/// How many new chats the account may begin. Source: `WAWebMexFetchNewChatMessageCappingInfoJobQuery`.
const NEW_CHAT_CAP: &str = "24503548349331633";

impl World {
    pub(super) fn query(&mut self, address: &Address, stanza: &Node) -> Result<Node> {
        let restrictions = self.person(&address.number)?.restrictions;
        let query = stanza.required("query")?;
        let found = match query.text("query_id").as_str() {
            TIME_LOCK => restrictions.time_lock(),
            NEW_CHAT_CAP if asks_for_chats(query) => restrictions.new_chat_cap(),
            NEW_CHAT_CAP => json!({
                "data": null,
                "errors": [{ "message": "no input", "extensions": { "error_code": 400, "is_summary": true } }],
            }),
            _ => json!({
                "data": null,
                "errors": [{ "message": "unknown query", "extensions": { "error_code": 404, "is_summary": true } }],
            }),
        };
        Ok(leaf("result", found.to_string().into_bytes()))
    }
}

/// Whether a query for a cap says that it is the one on new chats.
fn asks_for_chats(query: &Node) -> bool {
    let asked: Value = serde_json::from_slice(&query.content()).unwrap_or_default();
    asked["variables"]["input"]["type"] == "INDIVIDUAL_NEW_CHAT_MSG"
}
