//! Made for a version of the contract that is not there yet.

#![allow(missing_docs, reason = "the text would be in the WIT")]

wit_bindgen::generate!({
    inline: "
        package wotp:channel@0.2.0;

        interface delivery {
            deliver: func();
        }

        world channel-plugin {
            export delivery;
        }
    ",
});

struct Newer;

impl exports::wotp::channel::delivery::Guest for Newer {
    fn deliver() {}
}

export!(Newer);
