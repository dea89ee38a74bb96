//! Channels whose accounts are kept logged in.

use std::sync::Arc;

use wotp_core::app::App;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::Channel;

#[cfg(feature = "whatsapp")]
use super::whatsapp::{Keeping, Kept};
use crate::config::Channels;

/// Those that the configuration switches on.
#[derive(Default)]
pub struct Live {
    #[cfg(feature = "whatsapp")]
    whatsapp: Option<Kept>,
}

/// What keeps accounts, until it is ended.
pub struct Begun {
    #[cfg(feature = "whatsapp")]
    whatsapp: Option<Keeping>,
}

impl Live {
    /// None has begun: before it is, messages wait.
    pub(super) fn of(channels: &Channels) -> Self {
        #[cfg(feature = "whatsapp")]
        return Self { whatsapp: Kept::of(&channels.whatsapp) };
        #[cfg(not(feature = "whatsapp"))]
        {
            let _ = channels;
            Self::default()
        }
    }

    /// The channels.
    pub(super) fn channels(&self) -> impl Iterator<Item = Arc<dyn Channel>> {
        #[cfg(feature = "whatsapp")]
        return self.whatsapp.iter().map(Kept::channel);
        #[cfg(not(feature = "whatsapp"))]
        std::iter::empty()
    }

    /// Keeps from now on what is wanted by tenants, as this node.
    pub fn begin(self, app: &Arc<App>, node: NodeId) -> Begun {
        #[cfg(not(feature = "whatsapp"))]
        let _ = (app, node);
        Begun {
            #[cfg(feature = "whatsapp")]
            whatsapp: self.whatsapp.map(|kept| kept.begin(app, node)),
        }
    }
}

impl Begun {
    /// Lets other nodes have what was kept here.
    pub async fn end(self) {
        #[cfg(feature = "whatsapp")]
        if let Some(whatsapp) = self.whatsapp {
            whatsapp.end().await;
        }
    }
}
