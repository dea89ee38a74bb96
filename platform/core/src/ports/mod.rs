//! What the use cases need from the world, as traits. Adapters live in crates of their own.

mod access_tokens;
mod account;
mod asking;
mod bulletin;
mod channel;
mod clock;
mod connection_states;
mod entities;
mod entropy;
mod hearing;
mod identity_provider;
mod limiter;
mod outbox;
mod passwords;
mod plugins;
mod queue;
mod redact;
mod store;
mod timer;
mod webhook;

pub use access_tokens::AccessTokens;
pub use account::{CheckAccount, Unchecked};
pub use asking::{ASKING_MAX, Ask, Question, Revoke, Standing};
pub use bulletin::{Bulletin, BulletinError, Changed, Unheard};
pub use channel::{Acknowledged, Channel, Outgoing, SendError};
pub use clock::Clock;
pub use connection_states::{ConnectionStates, StateChange, StateError, StateKey, StateRange, StateRow};
pub use entities::{Change, CommitError, Entities, Entity, EntityList, EntityRow, IndexKey, Owner, Stored, Visit};
pub use entropy::{Drawn, Entropy};
pub use hearing::{HEARD_BODY_MAX, Hear, HearError, Heard, Hearing, News, NoReference, Reference};
pub use identity_provider::{AuthorizationAsked, CodeRedeemed, Identity, IdentityError, IdentityProvider};
pub use limiter::{Bucket, HELD_FOR, Hold, Limiter, LimiterError};
pub use outbox::{NewsKey, Outbox};
pub use passwords::{Compared, HashPlace, Passwords, PasswordsError};
pub use plugins::{NoPlugins, PluginFault, PluginHost, PluginSetup, ReadyPlugin, TenantAccount};
pub use queue::{Item, Job, Queue, QueueError};
pub use redact::redacted;
pub use store::{
    Admission, AdmitError, DueItem, ErasureNote, Filter, Idempotency, KeyHolder, NewMessage, NewVerification, Page,
    ReplaceError, ResendError, Store, StoreError, TenantSearch, TenantStore, Usage,
};
pub use timer::Timer;
pub use webhook::{Unsent, WebhookAnswer, WebhookCall, WebhookSender};
