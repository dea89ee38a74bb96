//! How what was counted is stored: numbers of a few bits each, as text, since rollups are read by the hundred
//! and written with every fold. As JSON an hour took 1,100 bytes and its parsing most of a query; so it takes
//! a quarter, and next to no parsing.
//!
//! Text in base64 of: the form (1), and for each hour its number, the length of what follows, and the counts in
//! the order below. Numbers are LEB128. NEVER change the order, they are stored: a new count goes to the end,
//! where it may be missing. An older program does not look there, and does not write it again: what is to outlive
//! one beside it is a field of the rollup.

use std::collections::BTreeMap;

use data_encoding::BASE64_NOPAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::{BUCKETS, Counts, Histogram};

const FORM: u64 = 1;

pub(super) fn serialize<S: Serializer>(hours: &BTreeMap<u8, Counts>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_NOPAD.encode(&pack(hours)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u8, Counts>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64_NOPAD.decode(text.as_bytes()).map_err(D::Error::custom)?;
    unpack(&bytes).ok_or_else(|| D::Error::custom("counts of a rollup are cut off, or in a form that is not known"))
}

fn pack(hours: &BTreeMap<u8, Counts>) -> Vec<u8> {
    let (mut all, mut one) = (Vec::new(), Vec::new());
    put(&mut all, FORM);
    for (hour, counts) in hours {
        one.clear();
        put_counts(&mut one, counts);
        put(&mut all, u64::from(*hour));
        put(&mut all, one.len() as u64);
        all.extend_from_slice(&one);
    }
    all
}

fn unpack(bytes: &[u8]) -> Option<BTreeMap<u8, Counts>> {
    let mut rest = bytes;
    if take(&mut rest)? != FORM {
        return None;
    }
    let mut hours = BTreeMap::new();
    while !rest.is_empty() {
        let hour = u8::try_from(take(&mut rest)?).ok()?;
        let mut one = take_bytes(&mut rest)?;
        hours.insert(hour, take_counts(&mut one)?);
    }
    Some(hours)
}

fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    let Counts {
        started,
        tried,
        sends,
        sent,
        delivered,
        approved,
        failed,
        expired,
        canceled,
        sent_after,
        delivered_after,
        approved_after,
    } = counts;
    for count in [started, tried, sends, sent, delivered, approved, expired, canceled] {
        put(out, *count);
    }
    put(out, failed.len() as u64);
    for (reason, count) in failed {
        put(out, reason.len() as u64);
        out.extend_from_slice(reason.as_bytes());
        put(out, *count);
    }
    for histogram in [sent_after, delivered_after, approved_after] {
        put(out, histogram.counts.len() as u64);
        if !histogram.is_empty() {
            put(out, histogram.first as u64);
        }
        histogram.counts.iter().for_each(|count| put(out, *count));
    }
}

fn take_counts(rest: &mut &[u8]) -> Option<Counts> {
    let mut counts = Counts::default();
    let Counts { started, tried, sends, sent, delivered, approved, expired, canceled, .. } = &mut counts;
    for count in [started, tried, sends, sent, delivered, approved, expired, canceled] {
        *count = take(rest)?;
    }
    for _ in 0..take(rest)? {
        let reason = str::from_utf8(take_bytes(rest)?).ok()?.to_owned();
        counts.failed.insert(reason, take(rest)?);
    }
    for histogram in [&mut counts.sent_after, &mut counts.delivered_after, &mut counts.approved_after] {
        *histogram = take_histogram(rest)?;
    }
    Some(counts)
}

fn take_histogram(rest: &mut &[u8]) -> Option<Histogram> {
    let length = usize::try_from(take(rest)?).ok()?;
    if length == 0 {
        return Some(Histogram::default());
    }
    let first = usize::try_from(take(rest)?).ok()?;
    // What is damaged must not ask for all the memory there is.
    if first.checked_add(length)? > BUCKETS.len() {
        return None;
    }
    let counts = (0..length).map(|_| take(rest)).collect::<Option<_>>()?;
    Some(Histogram { first, counts })
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low(number) | 0x80);
        number >>= 7;
    }
    out.push(low(number));
}

/// Its last seven bits.
fn low(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn histogram() -> impl Strategy<Value = Histogram> {
        prop::collection::vec(0i64..40_000_000_000, 0..20).prop_map(|all| {
            let mut histogram = Histogram::default();
            all.into_iter().for_each(|took| histogram.record(SignedDuration::from_millis(took)));
            histogram
        })
    }

    prop_compose! {
        fn counts()(
            plain in prop::array::uniform8(any::<u64>()),
            failed in prop::collection::btree_map("[a-z_]{1,12}", any::<u64>(), 0..3),
            sent_after in histogram(),
            delivered_after in histogram(),
            approved_after in histogram(),
        ) -> Counts {
            let [started, tried, sends, sent, delivered, approved, expired, canceled] = plain;
            Counts {
                started, tried, sends, sent, delivered, approved, failed, expired, canceled,
                sent_after, delivered_after, approved_after,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_counted_is_read_as_it_was_written_and_never_when_cut_off(
            hours in prop::collection::btree_map(0u8..24, counts(), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let packed = pack(&hours);
            let read = unpack(&packed);
            prop_assert_eq!(read.as_ref(), Some(&hours));
            let cut = unpack(&packed[..cut.index(packed.len())]);
            // Between two hours it cannot be told.
            prop_assert!(cut.is_none_or(|cut| cut.len() < hours.len() && cut.iter().all(|(hour, of)| hours[hour] == *of)));
        }

        #[test]
        fn nothing_that_is_read_asks_for_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn it_is_stored_as_it_was_first_stored() {
        let mut counts = Counts { started: 3, tried: 3, sends: 300, approved: 1, ..Counts::default() };
        counts.failed.insert("max_checks".to_owned(), 1);
        counts.approved_after.record(SignedDuration::from_secs(9));
        let packed = pack(&BTreeMap::from([(13, counts)]));
        assert_eq!(BASE64_NOPAD.encode(&packed), "AQ0bAwOsAgAAAQAAAQptYXhfY2hlY2tzAQAAAVYB");
    }

    #[test]
    fn what_a_newer_program_added_behind_is_passed_over() {
        let counts = BTreeMap::from([(1, Counts { started: 5, ..Counts::default() })]);
        let mut packed = pack(&counts);
        // One more count in the record of that hour.
        packed[2] += 1;
        packed.push(7);
        assert_eq!(unpack(&packed), Some(counts));
        packed[0] = 2;
        assert_eq!(unpack(&packed), None, "another form is not guessed at");
    }
}
