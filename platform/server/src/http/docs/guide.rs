//! The guide: what one reads once, before looking things up.

use serde_json::Value;
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::audit::ACTIONS;
use wotp_core::domain::code;
use wotp_core::domain::message::CONTENT_LENGTH_MAX;
use wotp_core::domain::sandbox;
use wotp_core::domain::service::{
    CHECKS_MAX, EXPIRY_MAX_SECONDS, EXPIRY_MIN_SECONDS, EXPIRY_STANDARD_SECONDS, Settings,
};
use wotp_core::domain::template::{MAX_TEXT_CHARACTERS, languages};

use super::reference::Reference;
use super::render::{Name, Prose, Text, block, put};
use super::sample::Sample;
use crate::http::BODY_SIZE_MAX;

/// Every section: its anchor and its title.
pub(super) const SECTIONS: [(&str, &str); 11] = [
    ("start", "Getting started"),
    ("keys", "API keys and scopes"),
    ("test-mode", "Test mode and sandbox numbers"),
    ("life", "Life of a verification"),
    ("limits", "Defaults and limits"),
    ("idempotency", "Idempotency"),
    ("rate-limits", "Rate limits"),
    ("lists", "Lists"),
    ("languages", "Languages"),
    ("audit-actions", "What the audit log tells"),
    ("standards", "Standards and security"),
];

/// The English name of each language with built-in texts.
const LANGUAGE_NAMES: [(&str, &str); 56] = [
    ("af", "Afrikaans"),
    ("ar", "Arabic"),
    ("az", "Azerbaijani"),
    ("bg", "Bulgarian"),
    ("bn", "Bengali"),
    ("bs", "Bosnian"),
    ("ca", "Catalan"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("fa", "Persian"),
    ("fi", "Finnish"),
    ("fil", "Filipino"),
    ("fr", "French"),
    ("gu", "Gujarati"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("hu", "Hungarian"),
    ("id", "Indonesian"),
    ("is", "Icelandic"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("mk", "Macedonian"),
    ("mr", "Marathi"),
    ("ms", "Malay"),
    ("nb", "Norwegian Bokmål"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
    ("pt", "Portuguese (Portugal)"),
    ("pt-BR", "Portuguese (Brazil)"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("sq", "Albanian"),
    ("sr", "Serbian (Cyrillic)"),
    ("sr-Latn", "Serbian (Latin)"),
    ("sv", "Swedish"),
    ("sw", "Swahili"),
    ("ta", "Tamil"),
    ("te", "Telugu"),
    ("th", "Thai"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("vi", "Vietnamese"),
    ("zh-Hans", "Chinese (simplified)"),
    ("zh-Hant", "Chinese (traditional)"),
];

/// The English name of a language; none where the list above was forgotten.
pub(super) fn language_name(tag: &str) -> Option<&'static str> {
    LANGUAGE_NAMES.iter().find(|(known, _)| *known == tag).map(|(_, name)| *name)
}

/// The whole guide.
pub(super) fn write(html: &mut String, reference: &Reference<'_>) {
    let parts: [&dyn Fn(&mut String); 11] = [
        &|html| start(html, reference),
        &keys,
        &test_mode,
        &life,
        &|html| limits(html, reference),
        &idempotency,
        &rate_limits,
        &lists,
        &spoken,
        &audit_actions,
        &standards,
    ];
    for ((id, title), part) in SECTIONS.into_iter().zip(parts) {
        if id == SECTIONS[0].0 {
            // The page's own heading stands above the first section, and leads to the same place.
            put!(html, "<section class=\"part first\" aria-labelledby=\"{id}\">\n");
        } else {
            super::render::open_section(html, id, title);
        }
        part(html);
        html.push_str("</section>\n");
    }
}

fn paragraph(html: &mut String, text: &str) {
    put!(html, "<p>{}</p>\n", Prose(text));
}

fn start(html: &mut String, reference: &Reference<'_>) {
    html.push_str(
        "<h1>WOTP API</h1>\n\
         <p class=\"lead\">WOTP verifies that a person holds a phone number or an email address. Your server asks for a \
         one-time code; WOTP makes it, sends it through a channel, and says whether the code typed back is right.</p>\n\
         <h2 id=\"start\">Getting started<a class=\"here\" href=\"#start\" aria-label=\"Link to Getting started\">#</a></h2>\n",
    );
    paragraph(
        html,
        "Take an API key from whoever runs this server (`wotp tenant create` prints a live and a test key, once), or sign \
         up with `POST /v1/auth/sign-up`, log in, and make one with `POST /v1/keys`. Begin with a test key: the whole \
         flow runs, no message goes out, and replies carry the code.",
    );
    block(
        html,
        "Once in your shell",
        "export WOTP_URL=<span class=\"s\" data-origin>http://127.0.0.1:8080</span>\nexport WOTP_KEY=<span class=\"s\">wk_test_…</span>",
    );
    html.push_str("<h3>1. Start a verification</h3>\n");
    block(
        html,
        "Request",
        "curl -X POST <span class=\"s\">&quot;$WOTP_URL/v1/verifications&quot;</span> \\\n  \
         -H <span class=\"s\">&quot;Authorization: Bearer $WOTP_KEY&quot;</span> \\\n  \
         -H <span class=\"s\">&quot;Content-Type: application/json&quot;</span> \\\n  \
         -d &#39;{<span class=\"k\">&quot;to&quot;</span>: <span class=\"s\">&quot;+12025550123&quot;</span>}&#39;",
    );
    block(html, "Reply 201, in part", &part_of_verification(reference).html());
    html.push_str("<h3>2. Check what the person typed</h3>\n");
    block(
        html,
        "Request",
        "curl -X POST <span class=\"s\">&quot;$WOTP_URL/v1/verifications/check&quot;</span> \\\n  \
         -H <span class=\"s\">&quot;Authorization: Bearer $WOTP_KEY&quot;</span> \\\n  \
         -H <span class=\"s\">&quot;Content-Type: application/json&quot;</span> \\\n  \
         -d &#39;{<span class=\"k\">&quot;to&quot;</span>: <span class=\"s\">&quot;+12025550123&quot;</span>, \
         <span class=\"k\">&quot;code&quot;</span>: <span class=\"s\">&quot;123456&quot;</span>}&#39;",
    );
    let value = |name: &str, value: Value| (name.to_owned(), Sample::Scalar(value));
    let checks = Sample::Object(vec![value("used", 1.into()), value("allowed", 5.into())]);
    let checked = Sample::Object(vec![
        value("valid", true.into()),
        value("status", "approved".into()),
        ("checks".to_owned(), checks),
    ]);
    block(html, "Reply 200, in part", &checked.html());
    paragraph(
        html,
        "A wrong code is a `200` with `valid: false`: look at `valid`, not at the status code. Of any number of checks, at \
         the same time or not, at most one is ever valid.",
    );
    put!(
        html,
        "<p>Where you keep the verification's <code>id</code>, check with \
         <a href=\"#op-check_verification\">its own path</a>. Coming from WOTP? \
         <a href=\"#tag-wotp-compatible\">Its paths</a> are here too: change the base URL.</p>\n"
    );
}

/// The members of a new verification that one looks at first.
fn part_of_verification(reference: &Reference<'_>) -> Sample {
    let shown = ["id", "status", "to", "channel", "checks", "expires_at", "test_mode", "test_code"];
    let Sample::Object(members) = Sample::of(reference, reference.schema("Verification")) else {
        return Sample::Scalar(Value::Null);
    };
    let members = members.into_iter().filter(|(name, _)| shown.contains(&name.as_str()));
    let said = |(name, sample): (String, Sample)| match name.as_str() {
        "test_mode" => (name, Sample::Scalar(true.into())),
        _ => (name, sample),
    };
    Sample::Object(members.map(said).collect())
}

/// What a scope lets a key do.
fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::VerificationsWrite => "Start, check, resend and cancel verifications",
        Scope::VerificationsRead => "Read verifications",
        Scope::MessagesWrite => "Send direct messages",
        Scope::MessagesRead => "Read direct messages",
        Scope::ServicesRead => "Read services and templates, preview texts",
        Scope::ServicesWrite => "Create and change services and their templates",
        Scope::UsageRead => "Read what was used of the plan",
        Scope::AddressesRead => "See whole addresses instead of masked ones; no key has it unless it was asked for",
        Scope::AnalyticsRead => "Read analytics",
        Scope::EventsRead => "Read events and follow them live",
        Scope::WebhooksRead => "Read webhook endpoints and their attempts",
        Scope::WebhooksWrite => "Create, change, test and replay webhook endpoints",
        Scope::GuardRead => "Read the guard's rules and what it did",
        Scope::GuardWrite => "Change the guard's rules, and release what it blocked",
        Scope::ConnectionsRead => "Read which channels there are, and your connections to them",
        Scope::ConnectionsWrite => {
            "Make, change and delete connections; no key has it unless it was asked for, since whoever has it can lead codes \
             through another account"
        }
    }
}

fn keys(html: &mut String) {
    paragraph(
        html,
        "Send the key with every call, as `Authorization: Bearer wk_…` or as `X-API-Key: wk_…`. Keys belong on your server: \
         never put one into an app or a page. A key is shown once and kept only as a hash; it can have an expiry, a list \
         of networks it may be used from, and be bound to one service.",
    );
    html.push_str("<table class=\"fields\"><thead><tr><th scope=\"col\">Scope</th><th scope=\"col\">Lets a key</th></tr></thead><tbody>\n");
    for known in Scope::ALL {
        put!(
            html,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td></tr>\n",
            Name(known.name()),
            Text(scope(*known))
        );
    }
    html.push_str("</tbody></table>\n");
}

fn test_mode(html: &mut String) {
    paragraph(
        html,
        "A `wk_live_…` key sends to people. A `wk_test_…` key never reaches a channel: everything else is the same, \
         it counts against a quota of its own, replies say `test_mode: true`, and `test_code` holds the code while it is \
         of use. Live and test never see each other's verifications.",
    );
    paragraph(
        html,
        "Sandbox numbers behave the same every time, with live and with test keys, and are never delivered with either. \
         They come from a range that is reserved for fiction, so nobody owns one.",
    );
    html.push_str("<table class=\"fields\"><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">Behaviour</th></tr></thead><tbody>\n");
    for number in sandbox::NUMBERS {
        put!(
            html,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td></tr>\n",
            Text(number.number),
            Text(number.description)
        );
    }
    html.push_str("</tbody></table>\n");
}

fn audit_actions(html: &mut String) {
    paragraph(
        html,
        "Every `action` of the audit log. Admins read their tenant's log at `GET /v1/audit`, operators every log at \
         `GET /operator/v1/audit`; `?action=api_key.` asks for all that begin so.",
    );
    html.push_str("<table class=\"fields three\"><thead><tr><th scope=\"col\">Action</th><th scope=\"col\">In whose log</th><th scope=\"col\">Meaning</th></tr></thead><tbody>\n");
    for action in ACTIONS {
        put!(
            html,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td></tr>\n",
            Name(action.name),
            Text(action.log.whose()),
            Text(action.meaning)
        );
    }
    html.push_str("</tbody></table>\n");
}

fn table(html: &mut String, head: [&str; 2], rows: &[(&str, &str)]) {
    put!(
        html,
        "<table class=\"fields\"><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr></thead><tbody>\n",
        Text(head[0]),
        Text(head[1])
    );
    for (name, meaning) in rows {
        put!(html, "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td></tr>\n", Text(name), Prose(meaning));
    }
    html.push_str("</tbody></table>\n");
}

fn life(html: &mut String) {
    paragraph(
        html,
        "A verification is `pending` until it ends, and it ends once. When the reply to a start is there, the verification \
         is stored and will be attempted, whatever crashes.",
    );
    table(
        html,
        ["Status", "Meaning"],
        &[
            ("pending", "Waiting for the right code, or for the button of its link."),
            ("approved", "The right code was typed in time, and no check was right before; or its link approved it."),
            ("expired", "Its time ran out."),
            ("canceled", "You called it off."),
            ("failed", "It cannot succeed any more: `reason` is `max_checks`, `undeliverable` or `blocked`."),
        ],
    );
    paragraph(
        html,
        "Each entry of `deliveries` is one attempt through one channel. When a channel refuses, or its server does not \
         acknowledge in time, or tells later that what it took failed, the next channel is tried; never because the \
         person types slowly. What could not be \
         delivered at all is not counted against the plan.",
    );
    table(
        html,
        ["Delivery", "Meaning"],
        &[
            ("queued", "Decided, and about to be sent, or with the channel for the first time."),
            (
                "sending",
                "A worker took it up again, for the next channel or another try, and waits for the channel's answer.",
            ),
            ("sent", "The channel's server acknowledged it; a call that returned is not enough."),
            ("delivered", "It reached the device, where the channel tells."),
            ("read", "It was opened, where the channel tells."),
            ("failed", "It did not get out; `reason` says why."),
        ],
    );
    paragraph(
        html,
        "A resend sends the same code again, with the same expiry and the checks that are left. Guesses are kept across \
         resends.",
    );
}

fn limits(html: &mut String, reference: &Reference<'_>) {
    put!(
        html,
        "<p>What concerns codes, addresses and channels is set per <a href=\"#tag-services\">service</a>, and copied into a \
         verification when it starts. <a href=\"#op-limits\"><code>GET /v1/limits</code></a> has the same, for programs. \
         What the plan includes is at <a href=\"#op-usage\"><code>GET /v1/usage</code></a>.</p>\n\
         <table class=\"fields three\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\">Default</th><th scope=\"col\">Bounds</th></tr></thead><tbody>\n"
    );
    let defaults = Settings::default();
    let (code, address) = (&defaults.code, &defaults.address_limits);
    // The bounds of what only the use cases know, as the API documents them.
    let bounds = |schema: &str, field: &str| {
        let field = &reference.schema(schema)["properties"][field];
        format!("{} to {}", field["minimum"], field["maximum"])
    };
    let pauses: Vec<_> = address.cool_down_seconds.iter().map(u32::to_string).collect();
    let rows: [(&str, String, String); 11] = [
        ("Length of a code", code.length.to_string(), format!("{} to {}", code::LENGTH_MIN, code::LENGTH_MAX)),
        (
            "Life of a code",
            format!("{} s", code.expires_in_seconds),
            format!(
                "{EXPIRY_MIN_SECONDS} to {EXPIRY_STANDARD_SECONDS} s; up to {EXPIRY_MAX_SECONDS} s where the service opted in"
            ),
        ),
        ("Guesses at a code", code.checks.to_string(), format!("1 to {CHECKS_MAX}")),
        (
            "Codes to an address in 10 minutes",
            address.sends_per_10_minutes.to_string(),
            bounds("AddressLimitsChange", "sends_per_10_minutes"),
        ),
        (
            "Codes to an address in a day",
            address.sends_per_day.to_string(),
            bounds("AddressLimitsChange", "sends_per_day"),
        ),
        ("Pause between codes to an address", format!("{} s", pauses.join(", ")), "the last one repeats".to_owned()),
        (
            "Wait for a channel's acknowledgement",
            format!("{} s", defaults.failover_after_seconds),
            format!("{} s", bounds("ServiceChange", "failover_after_seconds")),
        ),
        ("Direct message", "–".to_owned(), format!("1 to {CONTENT_LENGTH_MAX} characters")),
        ("Template", "–".to_owned(), format!("1 to {MAX_TEXT_CHARACTERS} characters")),
        ("Request body", "–".to_owned(), format!("at most {} KiB", BODY_SIZE_MAX / 1024)),
        ("Memory of an Idempotency-Key", "24 h".to_owned(), "fixed".to_owned()),
    ];
    for (what, default, bounds) in rows {
        put!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
            Text(what),
            Text(&default),
            Text(&bounds)
        );
    }
    html.push_str("</tbody></table>\n");
}

fn idempotency(html: &mut String) {
    paragraph(
        html,
        "Networks fail after a request was done and before its reply arrived. Send an `Idempotency-Key` with \
         `POST /v1/verifications` and `POST /v1/messages`: repeated within 24 hours with the same body, the request is \
         not done again, and the reply is the first result. With another body it is `idempotency_key_reused`.",
    );
    paragraph(
        html,
        "Only what was accepted is remembered. A refusal, `429` and `5xx` among them, is not kept, so that a retry with \
         the same key can succeed. A key has 1 to 255 printable ASCII characters; a UUID is a good one.",
    );
    block(html, "Header", "Idempotency-Key: <span class=\"s\">&quot;8e03978e-40d5-43e8-bc93-6894a57f9324&quot;</span>");
}

fn rate_limits(html: &mut String) {
    paragraph(
        html,
        "Three limits are counted apart: calls from one IP address, calls that start or send something for your tenant \
         and for each key, and codes to one address. The plan's rate is told with every reply that it counted, by the \
         `RateLimit` header fields: `q` calls fit at once, and the window of `w` seconds refills them; `r` remain, and \
         in `t` seconds all are back.",
    );
    block(
        html,
        "Headers",
        "RateLimit-Policy: <span class=\"s\">&quot;tenant&quot;;q=20;w=2</span>\nRateLimit: <span class=\"s\">&quot;tenant&quot;;r=19;t=1</span>",
    );
    paragraph(
        html,
        "A `429` carries `Retry-After` in whole seconds, rounded up: who waits that long is not refused for coming too \
         early. Its `code` says which limit it was: `rate_limited`, `quota_exceeded`, `address_limited` or `cool_down`.",
    );
}

fn lists(html: &mut String) {
    paragraph(
        html,
        "Lists are newest first, 20 on a page, or 1 to 100 by `limit`. Pass `next_cursor` as `cursor` for the next page; \
         it is null on the last. Entries that are added meanwhile do not shift a page. Filters hold all together, and \
         an unknown parameter is refused by name.",
    );
}

fn spoken(html: &mut String) {
    paragraph(
        html,
        "Texts come with the platform in these languages, each with its own plural forms and a line that asks not to \
         share the code. The language is the call's `locale`, else that of the number's region, else the service's.",
    );
    html.push_str(
        "<p>Your own <a href=\"#op-publish_template\">templates</a> for a channel and language replace them.</p>\n",
    );
    html.push_str("<ul class=\"languages\">\n");
    for locale in languages() {
        let tag = locale.to_string();
        let name = language_name(&tag).unwrap_or_default();
        put!(html, "<li><code>{}</code> {}</li>\n", Text(&tag), Text(name));
    }
    html.push_str("</ul>\n");
}

fn standards(html: &mut String) {
    html.push_str("<ul class=\"notes\">\n");
    for note in [
        "**Marks.** NIST SP 800-63B-4 asks for 6 digits or more and a life of at most 10 minutes; OWASP ASVS 5.0 (6.5.5) \
         for the same life. You may go below, on purpose: then `below_standard` of the verification says `short_code` \
         or `long_expiry`.",
        "**Not phishing resistant.** Whoever lures a person to a false page can ask for the code there and type it here. \
         A code that is typed by hand shows that somebody reads the address, no more; where that is not enough, use \
         passkeys.",
        "**Email.** Reading a mailbox confirms an address. NIST does not count it as an out-of-band authenticator.",
        "**Guessing.** Guesses are counted per verification, and wrong ones in a row per address, over all its \
         verifications: from the tenth on the address rests for longer and longer, from 30 seconds to an hour; after a \
         hundred, for a day. A new code does not reset the count; the right code does.",
        "**What is kept.** A code only as a keyed hash and a sealed copy for delivery, which is erased at the end; an \
         address sealed, and shown masked; both gone when the service's retention ends. Neither is ever in a log.",
        "**Replies to strangers.** What belongs to another tenant is `not_found`, like what never was.",
    ] {
        let (name, text) = note.trim_start_matches("**").split_once("**").unwrap_or(("", note));
        put!(html, "<li><strong>{}</strong>{}</li>\n", Text(name), Prose(text));
    }
    html.push_str("</ul>\n");
}
