//! What Telegram tells later. Source: core.telegram.org/gateway/api, "Report delivery".

use serde::Deserialize;
use wotp_plugin_kit::{HookCall, Refusal, Told};

use crate::api::Status;

/// Oldest report that is taken, in milliseconds: Telegram tries ten times, and stamps each try.
const AGE_MAX_MILLISECONDS: f64 = 600_000.0;

/// How a request stands: what is read of it.
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    delivery_status: Option<Status>,
    #[serde(default)]
    payload: Option<String>,
}

/// What a report tells. `holds` says whether a signature is the right one for some data.
pub(crate) fn received(
    call: &HookCall,
    now_milliseconds: f64,
    holds: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Vec<Told>, Refusal> {
    let not_authentic = |why: &str| Refusal::NotAuthentic(why.to_owned());
    let header =
        |name: &str| call.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str());
    let (Some(stamp), Some(signature)) = (header("x-request-timestamp"), header("x-request-signature")) else {
        return Err(not_authentic("it is not signed"));
    };
    let signature = bytes(signature).ok_or_else(|| not_authentic("its signature is not written in hex"))?;
    let signed = [stamp.as_bytes(), b"\n", &call.body].concat();
    if !holds(&signed, &signature) {
        return Err(not_authentic("its signature is another one"));
    }
    let unreadable = |why: &str| Refusal::Unreadable(why.to_owned());
    let seconds: f64 = stamp.parse().map_err(|_| unreadable("its time is no number"))?;
    if (now_milliseconds - seconds * 1000.0).abs() > AGE_MAX_MILLISECONDS {
        return Err(not_authentic("it was signed long ago"));
    }
    let report: Report = serde_json::from_slice(&call.body).map_err(|_| unreadable("its body is no report"))?;
    // Of what was signed; the URL was not.
    let told = report.payload.zip(report.delivery_status.and_then(|status| status.fate()));
    Ok(told.into_iter().map(|(reference, fate)| Told { reference, fate }).collect())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
    if digits { (0..hex.len()).step_by(2).map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use wotp_plugin_kit::http::{Header, Method};

    use super::*;

    const STAMP: &str = "1764417600";
    const NOW: f64 = 1_764_417_601_000.0;

    fn call(body: &str, signature: &str) -> HookCall {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        HookCall {
            method: Method::Post,
            url: "https://wotp.example/hooks/telegram/x".to_owned(),
            path: "x".to_owned(),
            headers: vec![header("x-request-timestamp", STAMP), header("x-request-signature", signature)],
            body: body.as_bytes().to_vec(),
            config: "{}".to_owned(),
        }
    }

    fn received(body: &str, signature: &str, now: f64) -> Result<Vec<Told>, Refusal> {
        super::received(&call(body, signature), now, |data, signature| {
            data == format!("{STAMP}\n{body}").as_bytes() && signature == [0xab, 0x01]
        })
    }

    fn report(status: &str) -> String {
        format!(
            r#"{{"request_id":"1","phone_number":"+12025550123","request_cost":0.01,"payload":"cmVm",
                "delivery_status":{{"status":"{status}","updated_at":1764417600}}}}"#
        )
    }

    #[test]
    fn a_report_is_read_as_how_the_message_fares() {
        for (status, fate) in [("sent", "Sent"), ("delivered", "Delivered"), ("read", "Read"), ("expired", "Failed")] {
            let told = received(&report(status), "ab01", NOW).unwrap();
            assert_eq!((told.len(), told[0].reference.as_str()), (1, "cmVm"));
            assert!(format!("{:?}", told[0].fate).contains(fate), "{told:?}");
        }
        assert!(received(&report("something-new"), "AB01", NOW).unwrap().is_empty());
        assert!(received(r#"{"request_id":"1"}"#, "ab01", NOW).unwrap().is_empty());
    }

    #[test]
    fn what_telegram_did_not_sign_or_signed_long_ago_is_not_its_word() {
        let body = report("read");
        for (signature, now) in [("", NOW), ("ab02", NOW), ("ab0", NOW), ("é0", NOW), ("ab01", NOW + 700_000.0)] {
            let refused = received(&body, signature, now);
            assert!(matches!(refused, Err(Refusal::NotAuthentic(_))), "{signature} {now}: {refused:?}");
        }
        let unsigned = HookCall { headers: Vec::new(), ..call(&body, "") };
        assert!(matches!(super::received(&unsigned, NOW, |_, _| true), Err(Refusal::NotAuthentic(_))));
        assert!(matches!(received("[", "ab01", NOW), Err(Refusal::Unreadable(_))));
    }
}
