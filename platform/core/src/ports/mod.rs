//! What the use cases need from the world, as traits. Adapters live in crates of their own.

mod access_tokens;
mod bulletin;
mod channel;
mod clock;
mod entities;
mod entropy;
mod limiter;
mod passwords;
mod queue;
mod store;
mod timer;

pub use access_tokens::AccessTokens;
pub use bulletin::{Bulletin, BulletinError, Changed, Unheard};
pub use channel::{Acknowledged, Channel, Outgoing, SendError};
pub use clock::Clock;
pub use entities::{Change, CommitError, Entities, Entity, EntityList, EntityRow, IndexKey, Owner, Stored};
pub use entropy::{Drawn, Entropy};
pub use limiter::{Bucket, Limiter, LimiterError};
pub use passwords::{Compared, Passwords, PasswordsError};
pub use queue::{Item, Job, Queue, QueueError};
pub use store::{
    Admission, AdmitError, DueItem, ErasureNote, Filter, Idempotency, KeyHolder, NewMessage, NewVerification, Page,
    ReplaceError, ResendError, Store, StoreError, TenantStore, Usage,
};
pub use timer::Timer;
