//! How what was counted is stored: numbers of a few bits each, as text, since rollups are read by the hundred
//! and written with every fold. As JSON an hour took 1,100 bytes and its parsing most of a query; so it takes
//! a quarter, and next to no parsing.
//!
//! Text in base64 of: the form, and for each part what it is, the length of what follows, and the counts in the order
//! below. In form 1 a part is an hour, by its number; in form 2 a text, by its length and itself: a country, or
//! nothing for email. Numbers are LEB128. NEVER change the order, they are stored: a new count goes to the end,
//! where it may be missing. An older program does not look there, and does not write it again: what is to outlive
//! one beside it is a field of the rollup.

use std::collections::BTreeMap;

use data_encoding::BASE64_NOPAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::histogram::BUCKETS;
use super::{Counts, Histogram, Part};

/// Parts are hours, by their numbers.
const HOURS: u64 = 1;
/// Parts are texts.
const TEXTS: u64 = 2;

pub(super) fn serialize<S: Serializer>(parts: &BTreeMap<Part, Counts>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_NOPAD.encode(&pack(parts)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Part, Counts>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64_NOPAD.decode(text.as_bytes()).map_err(D::Error::custom)?;
    unpack(&bytes).ok_or_else(|| D::Error::custom("counts of a rollup are cut off, or in a form that is not known"))
}

fn pack(parts: &BTreeMap<Part, Counts>) -> Vec<u8> {
    let (mut all, mut one) = (Vec::new(), Vec::new());
    let form = if parts.keys().all(|part| matches!(part, Part::Hour(_))) { HOURS } else { TEXTS };
    put(&mut all, form);
    for (part, counts) in parts {
        match part {
            Part::Hour(hour) if form == HOURS => put(&mut all, u64::from(*hour)),
            part => put_bytes(&mut all, String::from(part.clone()).as_bytes()),
        }
        one.clear();
        put_counts(&mut one, counts);
        put_bytes(&mut all, &one);
    }
    all
}

fn unpack(bytes: &[u8]) -> Option<BTreeMap<Part, Counts>> {
    let mut rest = bytes;
    let form = take(&mut rest)?;
    let mut parts = BTreeMap::new();
    if ![HOURS, TEXTS].contains(&form) {
        return None;
    }
    while !rest.is_empty() {
        let part = match form {
            HOURS => Part::Hour(u8::try_from(take(&mut rest)?).ok()?),
            _ => Part::from(str::from_utf8(take_bytes(&mut rest)?).ok()?.to_owned()),
        };
        let mut one = take_bytes(&mut rest)?;
        parts.insert(part, take_counts(&mut one)?);
    }
    Some(parts)
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
        put_bytes(out, reason.as_bytes());
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
    // Made room for at once: most of a query is spent here.
    let mut counts = Vec::with_capacity(length);
    for _ in 0..length {
        counts.push(take(rest)?);
    }
    Some(Histogram { first, counts })
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low(number) | 0x80);
        number >>= 7;
    }
    out.push(low(number));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Its last seven bits.
fn low(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

#[inline]
fn take(rest: &mut &[u8]) -> Option<u64> {
    // Nearly all are of one byte.
    if let [byte @ 0..0x80, after @ ..] = *rest {
        *rest = after;
        return Some(u64::from(*byte));
    }
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
            hours in prop::collection::btree_map((0u8..24).prop_map(Part::Hour), counts(), 0..4),
            countries in prop::collection::btree_map(prop::option::of("[A-Z]{2}").prop_map(Part::Country), counts(), 0..3),
            which in 0..3,
            cut in any::<prop::sample::Index>(),
        ) {
            let parts: BTreeMap<Part, Counts> = match which {
                0 => hours,
                1 => countries,
                _ => hours.into_iter().chain(countries).collect(),
            };
            let packed = pack(&parts);
            let read = unpack(&packed);
            prop_assert_eq!(read.as_ref(), Some(&parts));
            let cut = unpack(&packed[..cut.index(packed.len())]);
            // Between two parts it cannot be told.
            prop_assert!(cut.is_none_or(|cut| cut.len() < parts.len() && cut.iter().all(|(part, of)| parts[part] == *of)));
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
        let packed = |part| BASE64_NOPAD.encode(&pack(&BTreeMap::from([(part, counts.clone())])));
        assert_eq!(packed(Part::Hour(13)), "AQ0bAwOsAgAAAQAAAQptYXhfY2hlY2tzAQAAAVYB");
        assert_eq!(packed(Part::Country(Some("FR".to_owned()))), "AgJGUhsDA6wCAAABAAABCm1heF9jaGVja3MBAAABVgE");
    }

    #[test]
    fn what_a_newer_program_added_behind_is_passed_over() {
        let counts = BTreeMap::from([(Part::Hour(1), Counts { started: 5, ..Counts::default() })]);
        let mut packed = pack(&counts);
        // One more count in the record of that hour.
        packed[2] += 1;
        packed.push(7);
        assert_eq!(unpack(&packed), Some(counts));
        packed[0] = 3;
        assert_eq!(unpack(&packed), None, "another form is not guessed at");
    }
}
