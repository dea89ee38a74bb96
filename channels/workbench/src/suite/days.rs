//! What a provider does on its bad days.

use super::judging::Did;
use crate::provider::Conduct;
use crate::script::Answer;

/// How long it asks to wait, in seconds.
const WAIT_SECONDS: i64 = 7;

/// Each of them, by what it answers. That it is not there at all is another.
pub(super) fn bad() -> Vec<(&'static str, Conduct, Did)> {
    let wait = WAIT_SECONDS.to_string();
    let json = [("content-type", "application/json")];
    let html = [("content-type", "text/html")];
    let busy = [("retry-after", wait.as_str())];
    let answer =
        |status, headers: &[(&str, &str)], body: &str| Conduct::Answers(vec![Answer::always(status, headers, body)]);
    let page = "<!DOCTYPE html><title>It works!</title>";
    vec![
        ("400", answer(400, &json, "{}"), Did::Refused(400)),
        ("401", answer(401, &json, "{}"), Did::Refused(401)),
        ("403", answer(403, &json, "{}"), Did::Refused(403)),
        ("404", answer(404, &html, page), Did::Refused(404)),
        ("429, and to wait 7 seconds", answer(429, &busy, ""), Did::Busy(WAIT_SECONDS)),
        ("500", answer(500, &html, page), Did::Failed(500)),
        ("503", answer(503, &html, page), Did::Failed(503)),
        ("200, and a page of somebody else's", answer(200, &html, page), Did::Mumbled),
        ("200, and JSON that breaks off", answer(200, &json, "{\"id\": \"m-"), Did::Mumbled),
        ("200, and nothing", answer(200, &[], ""), Did::Mumbled),
        ("200, and 2 MB", Conduct::Huge, Did::Vanished),
        ("nothing, and hangs up", Conduct::Breaks, Did::Vanished),
        ("nothing, for longer than a call may take", Conduct::Silent, Did::Vanished),
    ]
}
