//! Cursors: where a listing goes on, as an opaque text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// The version that starts every cursor, so that a later form can be told apart.
const VERSION: u8 = 1;

/// The last thing on a page: the next page starts after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub [u8; 16]);

/// The text was not given by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor; pass `next_cursor` of the page before, unchanged")]
pub struct CursorError;

impl Cursor {
    /// Reads a cursor that we gave.
    ///
    /// # Errors
    /// [`CursorError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let bytes = BASE64.decode(text).map_err(|_| CursorError)?;
        match bytes.split_first() {
            Some((&VERSION, id)) => id.try_into().map(Self).map_err(|_| CursorError),
            _ => Err(CursorError),
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.0);
        f.write_str(&BASE64.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(id in any::<[u8; 16]>()) {
            prop_assert_eq!(Cursor::parse(&Cursor(id).to_string()), Ok(Cursor(id)));
        }

        #[test]
        fn any_text_is_a_cursor_or_an_error(text in "\\PC{0,60}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
