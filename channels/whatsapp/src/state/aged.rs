//! What goes by its age. The client asks for that every few minutes: so what there is, and when each goes, is read
//! once and then known, instead of opening all of it each time.

use std::collections::HashMap;

use wacore::store::error::Result;
use wotp_core::app::{Memories, Memory};
use wotp_core::domain::vault::StateName;

use super::kind::Kind;
use super::{State, number_first};

/// Group and name of one of them.
type Name = (Vec<u8>, Vec<u8>);

/// The moments of all things of a kind, by name. Their values begin with them.
pub(super) struct Aged {
    kind: Kind,
    /// None before they were read.
    moments: Option<HashMap<Name, i64>>,
}

impl Aged {
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, moments: None }
    }

    /// There is one of this moment.
    pub(super) fn note(&mut self, name: StateName<'_>, moment: i64) {
        if let Some(moments) = &mut self.moments {
            moments.insert((name.group.to_vec(), name.name.to_vec()), moment);
        }
    }

    /// It is gone.
    pub(super) fn gone(&mut self, name: StateName<'_>) {
        if let Some(moments) = &mut self.moments {
            moments.remove(&(name.group.to_vec(), name.name.to_vec()));
        }
    }

    /// Forgets those whose moment says so, and says how many.
    pub(super) async fn forget(&mut self, state: &State, is_over: impl Fn(i64) -> bool) -> Result<u32> {
        let moments = match &mut self.moments {
            Some(moments) => moments,
            unread => {
                let mut read = HashMap::new();
                for one in state.list(Memories::Kind(self.kind as u8)).await? {
                    let moment = number_first(&one.value)?.0;
                    read.insert((one.group, one.name), moment);
                }
                unread.insert(read)
            }
        };
        let over: Vec<_> =
            moments.iter().filter(|(_, moment)| is_over(**moment)).map(|(name, _)| name.clone()).collect();
        let kind = self.kind as u8;
        let forget = over.iter().map(|(group, name)| Memory::Forget(StateName { kind, group, name }));
        state.change(&forget.collect::<Vec<_>>()).await?;
        for name in &over {
            moments.remove(name);
        }
        Ok(u32::try_from(over.len()).unwrap_or(u32::MAX))
    }
}
