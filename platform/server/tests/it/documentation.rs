//! The documentation, as browsers and programs fetch it.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::app::TestApp;
use crate::client::Reply;

async fn fetch(app: &TestApp, path: &str, accepts: &str) -> Reply {
    let reply = app.get(path).header("accept-encoding", accepts).await;
    assert_eq!((reply.status, reply.header("vary")), (200, "accept-encoding"), "{path}, {accepts}");
    reply
}

#[tokio::test]
async fn who_takes_gzip_gets_the_same_in_a_fifth_of_the_bytes() {
    let app = TestApp::start().await;
    for path in ["/docs", "/openapi.json"] {
        let plain = app.get(path).await;
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
        for accepts in ["gzip", "br, GZIP;q=0.5", "deflate, *;q=0.1", "x-gzip"] {
            let compressed = fetch(&app, path, accepts).await;
            assert_eq!(compressed.header("content-encoding"), "gzip", "{accepts}");
            assert_eq!(compressed.header("content-type"), plain.header("content-type"));
            assert_eq!(compressed.header("content-security-policy"), plain.header("content-security-policy"));
            assert!(compressed.body.len() * 5 < plain.body.len(), "{} of {}", compressed.body.len(), plain.body.len());
            let mut text = String::new();
            GzDecoder::new(&compressed.body[..]).read_to_string(&mut text).expect("it is gzip");
            assert_eq!(text, plain.text);
        }
        for accepts in ["", "identity", "br", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "gzip;q=0.5, identity", "gzip;q=x"]
        {
            let reply = fetch(&app, path, accepts).await;
            assert_eq!((reply.header("content-encoding"), reply.body.len()), ("", plain.body.len()), "{accepts}");
        }
    }
}
