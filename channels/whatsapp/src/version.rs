//! The version of WhatsApp Web that sessions say they are.

/// Where WhatsApp Web says which one it is.
pub const VERSION_URL: &str = "https://web.whatsapp.com/sw.js";

/// One that was current when this was written, for whoever cannot ask.
pub const VERSION_KNOWN: (u32, u32, u32) = (2, 3000, 1_026_131_876);

/// The version that stands in what [`VERSION_URL`] answers.
pub fn version_in(answer: &str) -> Option<(u32, u32, u32)> {
    // Where it finds no number, the parser makes one up.
    wacore::version::parse_sw_js(answer).filter(|(_, _, revision)| *revision > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_and_none_is_made_up() {
        let answer = r#"self.__swData=JSON.parse("{\\"client_revision\\":1026131999}");"#;
        assert_eq!(version_in(answer), Some((2, 3000, 1_026_131_999)));
        for answer in ["", "<html>Not found</html>", "assets-manifest-98765 "] {
            assert_eq!(version_in(answer), None, "{answer}");
        }
    }
}
