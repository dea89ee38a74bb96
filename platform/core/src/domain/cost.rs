//! What a send costs: an amount in millionths of a currency, which holds the tenth of a cent that a message may
//! cost and needs no fraction.
//!
//! Two things are told of it. What a channel reported, after it sent, is summed up for analytics. What a tenant
//! estimates beforehand is what the guard's cap counts by, since a cap has to decide before anything is sent; see
//! [`guard::Costs`](super::guard::Costs). Neither is ever put in the other's place.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest amount: far beyond what anybody means, and far from what a sum can hold.
pub const MICROS_MAX: u64 = 1_000_000_000_000;

/// A currency by its three capital letters, as in `EUR`. Source: ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Currency([u8; 3]);

/// A text that is no currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters of ISO 4217, as in `EUR`")]
pub struct NoCurrency;

impl FromStr for Currency {
    type Err = NoCurrency;

    fn from_str(text: &str) -> Result<Self, NoCurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| NoCurrency)?;
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(NoCurrency) }
    }
}

impl Display for Currency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl TryFrom<String> for Currency {
    type Error = NoCurrency;

    fn try_from(text: String) -> Result<Self, NoCurrency> {
        text.parse()
    }
}

/// What something cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    micros: u64,
    currency: Currency,
}

impl Cost {
    /// So many millionths of a currency; none where that is more than anything costs: a channel that says so is
    /// wrong, and one wrong amount would spoil the sum that it is added to.
    ///
    /// ```
    /// use wotp_core::domain::cost::Cost;
    ///
    /// let cents = Cost::new(45_000, "EUR".parse()?).expect("4.5 cents");
    /// assert_eq!((cents.micros(), cents.currency().to_string().as_str()), (45_000, "EUR"));
    /// assert_eq!(Cost::new(u64::MAX, "EUR".parse()?), None);
    /// # Ok::<(), wotp_core::domain::cost::NoCurrency>(())
    /// ```
    pub fn new(micros: u64, currency: Currency) -> Option<Self> {
        (micros <= MICROS_MAX).then_some(Self { micros, currency })
    }

    /// The amount, in millionths.
    pub fn micros(self) -> u64 {
        self.micros
    }

    /// Of what.
    pub fn currency(self) -> Currency {
        self.currency
    }
}

/// Sums of costs, one for each currency: they are never put together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CostSums(BTreeMap<Currency, u64>);

impl CostSums {
    /// Adds one.
    pub fn add(&mut self, cost: Cost) {
        self.add_micros(cost.currency, cost.micros);
    }

    /// Adds what others come to.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(currency, micros)| self.add_micros(currency, micros));
    }

    fn add_micros(&mut self, currency: Currency, micros: u64) {
        let sum = self.0.entry(currency).or_default();
        *sum = sum.saturating_add(micros);
    }

    /// Whether there is none, in any currency.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Currencies and their millionths, by the name of the currency.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, u64)> {
        self.0.iter().map(|(currency, micros)| (*currency, *micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_currency_is_three_capital_letters() {
        for wrong in ["", "EU", "eur", "EURO", "E1R", "€", "ÄÖ"] {
            assert_eq!(wrong.parse::<Currency>(), Err(NoCurrency), "{wrong}");
            assert!(serde_json::from_value::<Currency>(json!(wrong)).is_err());
        }
        let euro: Currency = "EUR".parse().unwrap();
        assert_eq!((euro.to_string(), serde_json::to_value(euro).unwrap()), ("EUR".to_owned(), json!("EUR")));
    }

    #[test]
    fn currencies_are_summed_apart_and_stored_by_name() {
        let cost = |micros, currency: &str| Cost::new(micros, currency.parse().unwrap()).unwrap();
        let mut sums = CostSums::default();
        assert!(sums.is_empty());
        for one in [cost(45_000, "EUR"), cost(7, "USD"), cost(5_000, "EUR")] {
            sums.add(one);
        }
        let mut twice = sums.clone();
        twice.add_all(&sums);
        assert_eq!(serde_json::to_value(&twice).unwrap(), json!({ "EUR": 100_000, "USD": 14 }));
        assert_eq!(serde_json::from_value::<CostSums>(json!({ "EUR": 50_000, "USD": 7 })).unwrap(), sums);
    }
}
