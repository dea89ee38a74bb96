//! How much a number may send, by how long it has been sending.

use jiff::SignedDuration;

/// What a number of some age may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From this age on.
    pub from: SignedDuration,
    /// Most messages in an hour.
    pub per_hour: u32,
    /// Most messages in 24 hours.
    pub per_day: u32,
    /// Most of them to people whom it has never written with.
    pub strangers_per_day: u32,
}

/// How much numbers may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// By age, the youngest first, which begins at nothing.
    steps: Vec<Step>,
    /// Most strangers among all that is sent in 24 hours, in percent. 100 where codes are all that is sent: those go to
    /// strangers by nature, and how many a day is what counts.
    pub strangers_percent_max: u8,
    /// Longest that a message is held back so that many do not follow each other like a machine's.
    pub wait_max: SignedDuration,
    /// Most numbers in a minute of which WhatsApp is asked whether somebody has it there: people who ask for codes to numbers
    /// that are not there must not have the sender refused.
    pub look_ups_per_minute: u32,
}

/// Longest that codes are ever held back.
pub const WAIT_MAX: SignedDuration = SignedDuration::from_secs(2);

const fn step(days: i64, per_hour: u32, per_day: u32, strangers_per_day: u32) -> Step {
    Step { from: SignedDuration::from_hours(24 * days), per_hour, per_day, strangers_per_day }
}

/// Below what numbers were banned for (15 to 20 strangers a day, Baileys#1983) at first, and up from there over a month.
const USUAL: [Step; 6] = [
    step(0, 20, 60, 10),
    step(3, 40, 120, 20),
    step(7, 80, 300, 50),
    step(14, 150, 700, 120),
    step(21, 300, 1_500, 250),
    step(30, 600, 4_000, 600),
];

impl Default for Allowance {
    fn default() -> Self {
        Self { steps: USUAL.to_vec(), strangers_percent_max: 100, wait_max: WAIT_MAX, look_ups_per_minute: 60 }
    }
}

impl Allowance {
    /// By age. None when there is no step, when the first is not for new numbers, or when they are not in order.
    pub fn new(steps: Vec<Step>) -> Option<Self> {
        let begins = steps.first().is_some_and(|first| first.from <= SignedDuration::ZERO);
        let ordered = steps.windows(2).all(|two| two[0].from < two[1].from);
        (begins && ordered).then_some(Self { steps, ..Self::default() })
    }

    /// One for numbers of any age.
    pub fn flat(per_hour: u32, per_day: u32, strangers_per_day: u32) -> Self {
        Self { steps: vec![step(0, per_hour, per_day, strangers_per_day)], ..Self::default() }
    }

    /// What a number of this age may send.
    pub fn at(&self, age: SignedDuration) -> Step {
        let reached = self.steps.iter().rev().find(|step| step.from <= age);
        // A clock that went back makes nobody younger than new.
        *reached.or(self.steps.first()).expect("there is a first step")
    }
}
