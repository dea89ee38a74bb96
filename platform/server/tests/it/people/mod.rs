//! People: signing up and in, sessions, tokens, passwords, and what each is defended against.

mod account;
mod cookies;
mod cut_off;
mod epoch;
mod erase;
mod fairness;
mod letters;
mod login;
mod membership;
pub mod oidc;
mod passwords;
pub mod second_factor;
mod sessions;
mod sign_up;
mod tokens;

pub use tokens::{claims, signing_key};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};
use wotp_core::domain::id::{TenantId, UserId};
use wotp_core::domain::member::Member;
use wotp_core::domain::password::Password;
use wotp_core::domain::permission::Role;
use wotp_core::domain::user::{AccountEmail, PasswordHash, User};
use wotp_core::ports::{Change, Compared, HashPlace, Passwords, PasswordsError};
use wotp_server::people::{Argon2Passwords, HashSettings};

use crate::app::{TestApp, TestTenant};
use crate::client::Reply;

/// A password that is nobody's and long enough.
pub const PASSWORD: &str = "a long enough sentence";

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct TestPerson {
    pub user: UserId,
    pub email: String,
    /// The tenant that their calls name.
    pub tenant: Option<TenantId>,
    pub session: String,
    pub access_token: String,
    pub refresh_token: String,
    pub device_token: String,
}

/// Argon2 as it is, cheap and counted.
pub struct CountedPasswords {
    hasher: Argon2Passwords,
    hashed: AtomicUsize,
    full: AtomicBool,
    /// Held while no comparison is to answer.
    gate: Arc<Mutex<()>>,
}

impl CountedPasswords {
    pub fn new() -> Self {
        Self { hasher: cheap(1), hashed: AtomicUsize::new(0), full: AtomicBool::new(false), gate: Arc::default() }
    }

    /// From now on there is a place for nobody, or for all.
    pub fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// No comparison answers until this is dropped.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.gate).lock_owned().await
    }

    /// How many hashes were computed, or begun.
    pub fn hashed(&self) -> usize {
        self.hashed.load(Ordering::SeqCst)
    }
}

/// Argon2 with next to no memory.
pub fn cheap(passes: u32) -> Argon2Passwords {
    let settings = HashSettings { memory_kib: 8, passes, lanes: 1, threads: 1, waiting_max: 100 };
    Argon2Passwords::new(settings).expect("Argon2 takes these")
}

#[async_trait]
impl Passwords for CountedPasswords {
    fn place(&self, client: &[u8]) -> Result<HashPlace, PasswordsError> {
        if self.full.load(Ordering::SeqCst) { Err(PasswordsError::Busy) } else { self.hasher.place(client) }
    }

    async fn hash(&self, password: &Password, salt: [u8; 16]) -> Result<PasswordHash, PasswordsError> {
        self.hashed.fetch_add(1, Ordering::SeqCst);
        self.hasher.hash(password, salt).await
    }

    async fn compare(&self, password: &Password, hash: Option<&PasswordHash>) -> Result<Compared, PasswordsError> {
        self.hashed.fetch_add(1, Ordering::SeqCst);
        let compared = self.hasher.compare(password, hash).await;
        drop(self.gate.lock().await);
        compared
    }
}

impl TestApp {
    /// Somebody who signed up with this address, owns a tenant, and is signed in.
    pub async fn person(&self, email: &str) -> TestPerson {
        let started = self.sign_up(email).await.expect(202);
        let code = self.mailed(email).await;
        let confirmed = self.confirm(&started, &code).await.expect(201);
        let mut person = self.logged_in(email).await;
        person.tenant = Some(confirmed["tenant"].as_str().expect("a tenant").parse().expect("an id"));
        person
    }

    /// Somebody who is this in a tenant, and signed in.
    pub async fn member(&self, tenant: &TestTenant, role: Role) -> TestPerson {
        let ports = self.app.ports();
        let now = ports.clock.now();
        let drawn = UserId::new(now, &*ports.entropy).to_string().to_lowercase();
        let email = format!("{}-{drawn}@example.com", role.name());
        let user = self.account(&email).await;
        let member = Member { tenant: tenant.id, user, role, joined_at: now };
        ports.store.commit(vec![Change::insert(&member)]).await.expect("a new member");
        let mut person = self.logged_in(&email).await;
        person.tenant = Some(tenant.id);
        person
    }

    /// An account whose address is confirmed, in no tenant.
    pub async fn account(&self, email: &str) -> UserId {
        let ports = self.app.ports();
        let now = ports.clock.now();
        let address = AccountEmail::parse(email).expect("an address");
        let id = UserId::new(now, &*ports.entropy);
        let mut user = User::new(id, &address, "", now, &ports.vault, &*ports.entropy);
        user.password = Some(self.passwords.hasher.hash(&Password::typed(PASSWORD), [1; 16]).await.expect("a hash"));
        user.email_confirmed_at = Some(now);
        ports.store.commit(vec![Change::insert(&user)]).await.expect("a new account");
        id
    }

    /// Another session of somebody who has an account.
    pub async fn logged_in(&self, email: &str) -> TestPerson {
        let reply = self.log_in(email, PASSWORD).await.expect(200);
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        TestPerson {
            user: text("user").parse().expect("an id"),
            email: email.to_owned(),
            tenant: None,
            session: text("session"),
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            device_token: text("device_token"),
        }
    }

    async fn sign_up(&self, email: &str) -> Reply {
        let body = json!({ "email": email, "password": PASSWORD, "name": "Ada", "tenant": "Acme" });
        self.post("/v1/auth/sign-up").json(body).await
    }

    async fn confirm(&self, started: &Value, code: &str) -> Reply {
        let body = json!({ "verification": started["verification"], "code": code });
        self.post("/v1/auth/confirm-email").json(body).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Reply {
        self.post("/v1/auth/login").json(credentials(email, password)).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        self.post("/v1/auth/refresh").json(json!({ "refresh_token": token })).await
    }

    /// The code of the newest mail to this address.
    pub async fn mailed(&self, email: &str) -> String {
        self.run_jobs().await;
        let letters = self.outbox.letters();
        let newest = letters.iter().rfind(|letter| letter.to == email && !letter.code.is_empty());
        newest.expect("a mail went to this address").code.clone()
    }
}

/// The body of a login from a program.
pub fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password, "token_transport": "body" })
}
