//! The shapes in which Meta's Graph API takes an authentication template, and a message that goes out with one. Another one
//! is refused there, with error 100; here, so is what leaves out a field that Meta can do without and that plugins write.
//! Source: developers.facebook.com/documentation/business-messaging/whatsapp/templates, its pages on authentication
//! templates, and /docs/whatsapp/cloud-api/guides/send-message-templates.

use serde_json::{Value, json};

/// Characters of a code that a message has room for.
const CODE_MAX: usize = 15;
/// Android apps of one button.
const APPS_MAX: usize = 5;

/// What is wrong, in words like Meta's.
type Taken = Result<(), String>;

/// Whether a template is made of this.
pub fn template(body: &Value) -> Taken {
    only(body, &["name", "language", "category", "components", "message_send_ttl_seconds"])?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    holds(is_text(&body["name"], |name| name.len() <= 512 && name.chars().all(is_plain)), "name")?;
    holds(is_text(&body["language"], |_| true), "language")?;
    holds(is(&body["category"], "AUTHENTICATION"), "category")?;
    let components = list(&body["components"], "components")?;
    let count = |kind: &str| components.iter().filter(|component| is(&component["type"], kind)).count();
    let known = (count("BODY"), count("FOOTER"), count("BUTTONS"));
    holds(matches!(known, (1, 0 | 1, 1)) && known.0 + known.1 + known.2 == components.len(), "components")?;
    for component in components {
        if is(&component["type"], "BODY") {
            // Its text is Meta's own.
            only(component, &["type", "add_security_recommendation"])?;
            holds(component["add_security_recommendation"].is_boolean(), "add_security_recommendation")?;
        } else if is(&component["type"], "FOOTER") {
            only(component, &["type", "code_expiration_minutes"])?;
            let minutes = component["code_expiration_minutes"].as_u64();
            holds(minutes.is_some_and(|minutes| (1..=90).contains(&minutes)), "code_expiration_minutes")?;
        } else {
            only(component, &["type", "buttons"])?;
            let [one] = list(&component["buttons"], "buttons")? else { return holds(false, "buttons") };
            button(one)?;
        }
    }
    Ok(())
}

/// Whether a button is made of this: of those that hand the code over, with the apps that get it.
fn button(button: &Value) -> Taken {
    holds(is(&button["type"], "OTP"), "type")?;
    if is(&button["otp_type"], "COPY_CODE") {
        return only(button, &["type", "otp_type", "text"]);
    }
    let of_both = ["type", "otp_type", "text", "autofill_text", "supported_apps"];
    if is(&button["otp_type"], "ZERO_TAP") {
        only(button, &[&of_both[..], &["zero_tap_terms_accepted"]].concat())?;
        holds(button["zero_tap_terms_accepted"].as_bool() == Some(true), "zero_tap_terms_accepted")?;
    } else {
        holds(is(&button["otp_type"], "ONE_TAP"), "otp_type")?;
        only(button, &of_both)?;
    }
    let apps = list(&button["supported_apps"], "supported_apps")?;
    holds((1..=APPS_MAX).contains(&apps.len()), "supported_apps")?;
    for app in apps {
        only(app, &["package_name", "signature_hash"])?;
        holds(is_text(&app["package_name"], is_package), "package_name")?;
        let is_of_hash = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let is_hash = |hash: &str| hash.len() == 11 && hash.chars().all(is_of_hash);
        holds(is_text(&app["signature_hash"], is_hash), "signature_hash")?;
    }
    Ok(())
}

/// Two segments at least, each of which begins with a letter.
fn is_package(name: &str) -> bool {
    let is_segment = |segment: &str| {
        let plain = segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain && segment.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    name.contains('.') && name.split('.').all(is_segment)
}

/// Whether a message is this, whichever button its template has.
pub fn message(body: &Value) -> Taken {
    let known = ["messaging_product", "recipient_type", "to", "type", "template", "biz_opaque_callback_data"];
    only(body, &known)?;
    holds(body["messaging_product"] == "whatsapp", "messaging_product")?;
    holds(body["recipient_type"] == "individual", "recipient_type")?;
    holds(is_text(&body["to"], is_number), "to")?;
    holds(body["type"] == "template", "type")?;
    let template = &body["template"];
    only(template, &["name", "language", "components"])?;
    holds(is_text(&template["name"], |_| true), "template.name")?;
    only(&template["language"], &["code"])?;
    holds(is_text(&template["language"]["code"], |_| true), "template.language.code")?;
    let [of_body, of_button] = list(&template["components"], "components")? else { return holds(false, "components") };
    only(of_body, &["type", "parameters"])?;
    holds(of_body["type"] == "body", "components[0].type")?;
    only(of_button, &["type", "sub_type", "index", "parameters"])?;
    holds(of_button["type"] == "button", "components[1].type")?;
    holds(of_button["sub_type"] == "url", "components[1].sub_type")?;
    holds(of_button["index"] == "0", "components[1].index")?;
    for component in [of_body, of_button] {
        let [parameter] = list(&component["parameters"], "parameters")? else { return holds(false, "parameters") };
        only(parameter, &["type", "text"])?;
        holds(parameter["type"] == "text", "parameters[0].type")?;
        holds(is_text(&parameter["text"], |code| code.len() <= CODE_MAX), "parameters[0].text")?;
    }
    // What people read is what the button copies.
    holds(of_body["parameters"] == of_button["parameters"], "parameters")
}

/// A number with its country's code.
fn is_number(to: &str) -> bool {
    let digits = to.strip_prefix('+').unwrap_or(to);
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.chars().all(|c| c.is_ascii_digit())
}

fn holds(whether: bool, what: &str) -> Taken {
    if whether { Ok(()) } else { Err(format!("Param {what} is missing or not valid")) }
}

/// That it is an object, and has no other fields.
fn only(object: &Value, fields: &[&str]) -> Taken {
    let Some(object) = object.as_object() else { return Err("A param is missing that is an object".to_owned()) };
    match object.keys().find(|name| !fields.contains(&name.as_str())) {
        Some(name) => Err(format!("Unexpected key \"{name}\" on param")),
        None => Ok(()),
    }
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("Param {what} must be an array"))
}

/// Whether it is this word: Meta writes it in either case.
fn is(value: &Value, word: &str) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word))
}

fn is_text(value: &Value, holds: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && holds(text))
}

/// A template with this button.
fn with(button: &Value) -> Value {
    json!({
        "name": "login_code", "language": "en_US", "category": "authentication", "message_send_ttl_seconds": 60,
        "components": [
            { "type": "body", "add_security_recommendation": true },
            { "type": "footer", "code_expiration_minutes": 10 },
            { "type": "buttons", "buttons": [button] },
        ],
    })
}

fn zero_tap() -> Value {
    let app = json!({ "package_name": "com.example.acme", "signature_hash": "K8a/AINcGX7" });
    json!({
        "type": "otp", "otp_type": "zero_tap", "text": "Copy Code", "autofill_text": "Autofill",
        "zero_tap_terms_accepted": true, "supported_apps": [app],
    })
}

fn sent() -> Value {
    let parameters = json!([{ "type": "text", "text": "J$FpnYnP" }]);
    json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "12025550123", "type": "template",
        "template": {
            "name": "login_code", "language": { "code": "en_US" },
            "components": [
                { "type": "body", "parameters": parameters },
                { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
            ],
        },
    })
}

/// The same with something else in one place.
fn altered(body: &Value, place: &str, by: Value) -> Value {
    let mut body = body.clone();
    let (parent, field) = place.rsplit_once('/').expect("a place is in something");
    let parent = body.pointer_mut(parent).expect("it is there");
    match field.parse::<usize>() {
        Ok(at) => parent[at] = by,
        Err(_) => parent[field] = by,
    }
    body
}

#[test]
fn what_meta_shows_in_its_documentation_is_taken() {
    let mut one_tap = altered(&zero_tap(), "/otp_type", json!("one_tap"));
    one_tap.as_object_mut().unwrap().remove("zero_tap_terms_accepted");
    let copy_code = json!({ "type": "otp", "otp_type": "copy_code", "text": "Copy Code" });
    for button in [copy_code, one_tap, zero_tap()] {
        assert_eq!(template(&with(&button)), Ok(()), "{button}");
    }
    assert_eq!(message(&sent()), Ok(()));
}

#[test]
fn a_template_of_another_shape_is_refused() {
    let good = with(&zero_tap());
    let apps = &good["components"][2]["buttons"][0]["supported_apps"];
    let copies_for_apps = json!({ "type": "otp", "otp_type": "copy_code", "supported_apps": apps });
    let accepts_for_one_tap = altered(&zero_tap(), "/otp_type", json!("one_tap"));
    for (place, by) in [
        ("/name", json!("Login Code")),
        ("/language", Value::Null),
        ("/category", json!("UTILITY")),
        ("/text", json!("Your code is {{1}}")),
        ("/components", Value::Null),
        ("/components", json!([])),
        ("/components/0", json!({ "type": "body", "text": "Your code is {{1}}" })),
        ("/components/0/add_security_recommendation", json!("true")),
        ("/components/1/type", json!("header")),
        ("/components/1/code_expiration_minutes", json!(0)),
        ("/components/1/code_expiration_minutes", json!(91)),
        ("/components/2/buttons", Value::Null),
        ("/components/2/buttons", json!([])),
        ("/components/2/buttons", json!([zero_tap(), zero_tap()])),
        ("/components/2/buttons/0", copies_for_apps),
        ("/components/2/buttons/0", accepts_for_one_tap),
        ("/components/2/buttons/0/type", json!("url")),
        ("/components/2/buttons/0/otp_type", json!("two_tap")),
        ("/components/2/buttons/0/zero_tap_terms_accepted", json!(false)),
        ("/components/2/buttons/0/zero_tap_terms_accepted", Value::Null),
        ("/components/2/buttons/0/supported_apps", Value::Null),
        ("/components/2/buttons/0/supported_apps", json!([])),
        ("/components/2/buttons/0/supported_apps/0/package_name", json!("acme")),
        ("/components/2/buttons/0/supported_apps/0/package_name", json!("com.2example")),
        ("/components/2/buttons/0/supported_apps/0/signature_hash", json!("K8a/AINcGX")),
        ("/components/2/buttons/0/supported_apps/0/signature_hash", Value::Null),
    ] {
        assert!(template(&altered(&good, place, by.clone())).is_err(), "{place}: {by}");
    }
}

#[test]
fn a_message_of_another_shape_is_refused() {
    for (place, by) in [
        ("/messaging_product", Value::Null),
        ("/recipient_type", json!("group")),
        ("/to", Value::Null),
        ("/to", json!("")),
        ("/to", json!("02025550123")),
        ("/to", json!("ada@acme.example")),
        ("/type", json!("text")),
        ("/code", json!("482913")),
        ("/template", Value::Null),
        ("/template/name", json!("")),
        ("/template/language", json!("en_US")),
        ("/template/components", Value::Null),
        ("/template/components", json!([])),
        ("/template/components/0/type", json!("header")),
        ("/template/components/0/parameters", json!([])),
        ("/template/components/0/parameters/0/text", json!(482_913)),
        ("/template/components/1/parameters/0/text", json!("482913")),
        ("/template/components/1/parameters/0/text", json!("1234567890123456")),
        ("/template/components/1/sub_type", json!("copy_code")),
        ("/template/components/1/index", Value::Null),
    ] {
        assert!(message(&altered(&sent(), place, by.clone())).is_err(), "{place}: {by}");
    }
}
