//! A component of another world: it is no plugin at all.

#![allow(missing_docs, reason = "the text would be in the WIT")]

wit_bindgen::generate!({
    inline: "
        package example:other@0.1.0;

        world other {
            export answer: func() -> u32;
        }
    ",
});

struct Other;

impl Guest for Other {
    fn answer() -> u32 {
        42
    }
}

export!(Other);
