use serde_json::{Value, json};
use wotp_plugin_kit::http::Header;

use super::*;

fn config(more: Value) -> Config {
    let mut all = json!({
        "phone_number_id": "1065", "template": "login_code", "receipts": false, "business_account_id": "1022",
        "languages": ["en_US", "pt_BR"],
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn answer(status: u16, body: &Value) -> Response {
    let header = Header { name: "content-type".to_owned(), value: "application/json".to_owned() };
    Response { status, headers: vec![header], body: body.to_string().into_bytes() }
}

fn template(language: &str, status: &str) -> Value {
    json!({ "id": "5944", "name": "login_code", "language": language, "status": status, "category": "AUTHENTICATION" })
}

fn page(templates: &[Value]) -> Response {
    let cursors = json!({ "before": "QVFI", "after": "QVFJ" });
    answer(200, &json!({ "data": templates, "paging": { "cursors": cursors } }))
}

fn error(code: u32, subcode: Option<u32>) -> Response {
    let mut error =
        json!({ "message": "Invalid parameter", "type": "OAuthException", "code": code, "fbtrace_id": "A" });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
        error["error_user_title"] = json!("Content in This Language Already Exists");
        error["error_user_msg"] = json!("There is already English (US) content for this template.");
    }
    answer(400, &json!({ "error": error }))
}

/// What is asked, and what is found, where these are the answers.
fn checked(config: &Config, answers: Vec<Result<Response, NoAnswer>>) -> (Vec<Call>, Result<Report, Unchecked>) {
    let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
    let mut send = |call: Call| {
        asked.push(call);
        answers.next().expect("so many answers are enough")
    };
    let report = check(config, "MARK", &mut send);
    (asked, report)
}

fn states(report: &Report) -> Vec<(&str, &str)> {
    report.findings.iter().map(|finding| (finding.name.as_str(), finding.state.as_str())).collect()
}

fn body_of(call: &Call) -> Value {
    serde_json::from_slice(&call.request().body).unwrap()
}

#[test]
fn each_language_is_looked_at_and_nothing_is_made_where_nobody_asked_for_it() {
    let mut of_another = template("pt_BR", "APPROVED");
    of_another["name"] = json!("login_code_2");
    let (asked, report) = checked(&config(json!({})), vec![Ok(page(&[template("en_US", "APPROVED"), of_another]))]);
    let report = report.unwrap();
    assert!(report.usable);
    assert_eq!(states(&report), [("login_code, en_US", "APPROVED"), ("login_code, pt_BR", "MISSING")]);
    let request = asked[0].request();
    assert_eq!(
        request.url,
        "https://graph.facebook.com/v24.0/1022/message_templates?name=login_code\
         &fields=name,language,status,category,rejected_reason,quality_score&limit=100"
    );
    assert_eq!((asked.len(), request.headers[0].value.as_str()), (1, "Bearer MARK"));
}

#[test]
fn what_meta_leaves_empty_and_what_is_written_twice_is_no_matter() {
    let nulls = json!({
        "name": "login_code", "language": "en_US", "status": "APPROVED", "category": null, "rejected_reason": null,
        "quality_score": { "score": null },
    });
    let config = config(json!({ "languages": ["en_US", "en_US"] }));
    let report = checked(&config, vec![Ok(page(&[nulls]))]).1.unwrap();
    assert_eq!((report.usable, states(&report)), (true, vec![("login_code, en_US", "APPROVED")]));
    let nulls = json!({ "error": { "code": 190, "message": null, "error_user_msg": null } });
    let said = checked(&config, vec![Ok(answer(401, &nulls))]).1.unwrap_err();
    assert!(matches!(said, Unchecked::Misconfigured(_)), "{said:?}");
}

#[test]
fn long_names_leave_room_for_the_language() {
    let config = config(json!({ "template": "x".repeat(512), "languages": ["zh_CN"] }));
    let report = checked(&config, vec![Ok(page(&[]))]).1.unwrap();
    assert!(report.findings[0].name.ends_with("x, zh_CN") && report.findings[0].name.len() <= 128);
}

#[test]
fn without_an_account_nobody_is_asked() {
    let mut without = config(json!({}));
    without.business_account_id = None;
    let (asked, report) = checked(&without, Vec::new());
    let report = report.unwrap();
    assert!(asked.is_empty() && report.usable && report.findings[0].good);
    assert!(report.findings[0].about.contains("`business_account_id`"));
}

#[test]
fn pages_are_read_to_their_end() {
    let first = json!({
        "data": [template("en_US", "APPROVED")],
        "paging": { "cursors": { "after": "a=/b" }, "next": "https://graph.facebook.com/v24.0/1022/message_templates?after=a" },
    });
    let (asked, report) =
        checked(&config(json!({})), vec![Ok(answer(200, &first)), Ok(page(&[template("pt_BR", "PENDING")]))]);
    assert_eq!(states(&report.unwrap()), [("login_code, en_US", "APPROVED"), ("login_code, pt_BR", "PENDING")]);
    assert!(asked[1].request().url.ends_with("&limit=100&after=a%3D%2Fb"), "{}", asked[1].request().url);
}

#[test]
fn what_is_missing_is_made_with_the_button_that_was_chosen() {
    let app = json!({ "package_name": "com.example.acme", "signature_hash": "K8a/AINcGX7" });
    let recommends = json!({ "type": "BODY", "add_security_recommendation": true });
    for (create, components) in [
        (
            json!({}),
            json!([recommends, { "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "COPY_CODE" }] }]),
        ),
        (
            json!({ "button": "one_tap", "apps": [app], "expires_in_minutes": 10 }),
            json!([
                recommends,
                { "type": "FOOTER", "code_expiration_minutes": 10 },
                { "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "ONE_TAP", "supported_apps": [app] }] },
            ]),
        ),
        (
            json!({
                "button": "zero_tap", "apps": [app], "zero_tap_terms_accepted": true, "security_recommendation": false,
            }),
            json!([
                { "type": "BODY", "add_security_recommendation": false },
                { "type": "BUTTONS", "buttons": [{
                    "type": "OTP", "otp_type": "ZERO_TAP", "supported_apps": [app], "zero_tap_terms_accepted": true,
                }] },
            ]),
        ),
    ] {
        let made = answer(200, &json!({ "id": "594425479261596", "status": "PENDING", "category": "AUTHENTICATION" }));
        let config = config(json!({ "create": create }));
        let (asked, report) = checked(&config, vec![Ok(page(&[template("en_US", "APPROVED")])), Ok(made)]);
        assert_eq!(states(&report.unwrap())[1], ("login_code, pt_BR", "PENDING"));
        assert_eq!(asked[1].request().url, "https://graph.facebook.com/v24.0/1022/message_templates");
        assert_eq!(
            body_of(&asked[1]),
            json!({ "name": "login_code", "language": "pt_BR", "category": "AUTHENTICATION", "components": components })
        );
    }
}

#[test]
fn one_that_somebody_else_made_at_that_moment_is_no_failure() {
    let config = config(json!({ "create": {}, "languages": ["en_US"] }));
    let (_, report) = checked(&config, vec![Ok(page(&[])), Ok(error(100, Some(2_388_024)))]);
    let report = report.unwrap();
    assert_eq!(states(&report), [("login_code, en_US", "EXISTS")]);
    assert!(!report.usable && report.findings[0].about.contains("check the connection again"));
}

#[test]
fn what_meta_refuses_to_make_is_told_in_its_words() {
    let config = config(json!({ "create": {}, "languages": ["en_US"] }));
    let (_, report) = checked(&config, vec![Ok(page(&[])), Ok(error(200, None))]);
    let report = report.unwrap();
    assert_eq!(states(&report), [("login_code, en_US", "NOT_CREATED")]);
    assert!(report.findings[0].about.contains("whatsapp_business_management"), "{}", report.findings[0].about);
    assert!(report.findings[0].about.contains("Invalid parameter"), "{}", report.findings[0].about);
}

#[test]
fn some_are_made_at_once_and_none_after_one_that_had_no_answer() {
    let languages = ["en_US", "de", "es", "fr", "it", "nl", "pl"];
    let config = config(json!({ "create": {}, "languages": languages }));
    let made = || Ok(answer(200, &json!({ "id": "1", "status": "APPROVED", "category": "AUTHENTICATION" })));
    let (asked, report) = checked(&config, vec![Ok(page(&[])), made(), made(), made(), made(), made()]);
    let report = report.unwrap();
    assert_eq!(asked.len(), 6);
    assert!(report.usable);
    let of = |wanted: &str| report.findings.iter().filter(|finding| finding.state == wanted).count();
    assert_eq!((of("APPROVED"), of("MISSING")), (5, 2));

    let (asked, report) = checked(&config, vec![Ok(page(&[])), made(), Err(NoAnswer::Timeout)]);
    let report = report.unwrap();
    let words: Vec<_> = states(&report).into_iter().map(|(_, state)| state).collect();
    assert_eq!(words, ["APPROVED", "UNKNOWN", "MISSING", "MISSING", "MISSING", "MISSING", "MISSING"]);
    assert_eq!(asked.len(), 3);
}

#[test]
fn whoever_may_not_look_is_told_why() {
    let refused = |answer: Result<Response, NoAnswer>| checked(&config(json!({})), vec![answer]).1.unwrap_err();
    let said = refused(Ok(error(190, None)));
    assert!(matches!(&said, Unchecked::Misconfigured(why) if why.contains("token does not work")), "{said:?}");
    // That is no reason to send nothing.
    for (code, subcode, words) in
        [(10, None, "permission"), (200, None, "permission"), (100, Some(33), "no such account")]
    {
        let report = checked(&config(json!({})), vec![Ok(error(code, subcode))]).1.unwrap();
        assert_eq!(states(&report), [("login_code", "NOT_LOOKED_AT")], "{code}");
        let finding = &report.findings[0];
        assert!(report.usable && !finding.good && finding.about.contains(words), "{code}: {}", finding.about);
        assert!(finding.about.len() <= 400, "{code}");
    }
    let passing = [
        error(80_008, None),
        error(613, None),
        answer(503, &json!("x")),
        answer(200, &json!({})),
        answer(200, &json!("x")),
    ];
    for answer in passing.into_iter().map(Ok).chain([Err(NoAnswer::Timeout)]) {
        let said = refused(answer.clone());
        assert!(matches!(said, Unchecked::Temporary(_)), "{answer:?}: {said:?}");
    }
    assert!(matches!(refused(Ok(answer(404, &json!("x")))), Unchecked::Misconfigured(_)));
    assert!(matches!(refused(Err(NoAnswer::Denied("not approved".to_owned()))), Unchecked::Misconfigured(_)));
}
