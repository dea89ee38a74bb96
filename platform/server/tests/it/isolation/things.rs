//! What a tenant has one of each of, and how requests name it.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::json;
use wotp_core::app::{Announced, NewKeySettings};
use wotp_core::domain::announcement::Level;
use wotp_core::domain::audit::By;
use wotp_core::domain::connection::Connection;
use wotp_core::domain::guard::{Destination, State, Watch};
use wotp_core::domain::id::{ConnectionId, PluginId, TenantId, UserId};
use wotp_core::domain::identity::LinkedIdentity;
use wotp_core::domain::invitation::Invitation;
use wotp_core::domain::live_connection::{LiveConnection, Wish};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::permission::Role;
use wotp_core::domain::plugin::Settings;
use wotp_core::domain::user::AccountEmail;
use wotp_core::ports::Change;

use crate::app::{TestApp, TestTenant, id, seconds};

/// What an operation can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Tenant,
    Service,
    /// A service, by its id, that has a text of its own in English.
    Template,
    Verification,
    /// The address of the verification.
    Address,
    Message,
    Endpoint,
    /// One whose plugin is not there: none is installed where none is run.
    Connection,
    /// One that is to be kept logged in, where no node keeps any.
    LiveConnection,
    Event,
    GuardEntry,
    Destination,
    Key,
    Member,
    /// A session of the member.
    Session,
    /// An account elsewhere that signs in to the member's.
    Identity,
    Invitation,
    InvitationToken,
    /// An operator's access to the tenant.
    Access,
    /// Everybody's.
    Announcement,
    /// Nobody's.
    Provider,
    /// Not there: no plugin is installed where none is run.
    Plugin,
}

impl Thing {
    const ALL: [Self; 22] = [
        Self::Tenant,
        Self::Service,
        Self::Template,
        Self::Verification,
        Self::Address,
        Self::Message,
        Self::Endpoint,
        Self::Connection,
        Self::LiveConnection,
        Self::Event,
        Self::GuardEntry,
        Self::Destination,
        Self::Key,
        Self::Member,
        Self::Session,
        Self::Identity,
        Self::Invitation,
        Self::InvitationToken,
        Self::Access,
        Self::Announcement,
        Self::Provider,
        Self::Plugin,
    ];

    /// Whether it is a tenant's.
    pub fn is_owned(self) -> bool {
        !matches!(self, Self::Announcement | Self::Provider | Self::Plugin)
    }
}

/// Things of one tenant, and how each is named.
pub struct Things {
    names: BTreeMap<Thing, String>,
    /// The right code of the verification.
    code: String,
}

impl Things {
    /// One of everything.
    pub async fn all(app: &TestApp, tenant: &TestTenant, address: &str, operator: UserId) -> Self {
        Self::some(app, tenant, address, operator, &Thing::ALL).await
    }

    /// One of each of these.
    pub async fn some(app: &TestApp, tenant: &TestTenant, address: &str, operator: UserId, wanted: &[Thing]) -> Self {
        let mut things = Self { names: BTreeMap::new(), code: String::new() };
        for thing in wanted {
            if !things.names.contains_key(thing) {
                things.make(*thing, app, tenant, address, operator).await;
            }
        }
        things
    }

    /// From now on this is what it is called.
    pub fn rename(&mut self, thing: Thing, name: String) {
        self.names.insert(thing, name);
    }

    /// What nobody else may be told: every name, and the address as it is searched for.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let owned = self.names.iter().filter(|(thing, _)| thing.is_owned());
        owned.map(|(_, name)| name.trim_start_matches('+'))
    }

    /// The ids of such, as text and as the bytes that stores keep.
    pub fn ids(&self, such: impl Fn(Thing) -> bool) -> Vec<Vec<u8>> {
        let ids = self.names.iter().filter(|(thing, _)| such(**thing));
        let ids = ids.filter_map(|(_, name)| Some([name.clone().into_bytes(), id_bytes(name)?.to_vec()]));
        ids.flatten().collect()
    }

    async fn make(&mut self, thing: Thing, app: &TestApp, tenant: &TestTenant, address: &str, operator: UserId) {
        let service = format!("/v1/services/{}", tenant.service);
        let name = match thing {
            Thing::Tenant => tenant.id.to_string(),
            Thing::Service => tenant.service.to_string(),
            Thing::Template => {
                let text = json!({ "locale": "en", "text": "{{code}}" });
                app.post(format!("{service}/templates")).key(&tenant.live).json(text).await.expect(201);
                tenant.service.to_string()
            }
            Thing::Verification | Thing::Address | Thing::Event => {
                let (verification, code) = app.started(&tenant.live, address).await;
                self.code = code;
                self.rename(Thing::Event, app.event(tenant, &verification).await);
                // Before its deliveries are made, it is delivered to nobody once more.
                app.take_webhooks().await;
                self.rename(Thing::Address, address.to_owned());
                self.rename(Thing::Verification, id(&verification).to_owned());
                return;
            }
            Thing::Message => {
                let message = json!({ "to": address, "content": "Hello" });
                let message = app.post("/v1/messages").key(&tenant.live).json(message).await.expect(201);
                app.run_jobs().await;
                id(&message).to_owned()
            }
            Thing::Endpoint => {
                let endpoint = app.endpoint(&tenant.live, json!({ "url": "https://example.com/webhooks" })).await;
                // One goes on, which can be called off.
                let since = json!({ "since": app.long_ago() });
                app.of_endpoint(&endpoint, "replay").key(&tenant.live).json(since).await.expect(202);
                id(&endpoint["endpoint"]).to_owned()
            }
            Thing::Connection => connection(app, tenant).await,
            Thing::LiveConnection => live_connection(app, tenant).await,
            Thing::GuardEntry => {
                let entry = json!({ "effect": "block", "prefix": "+98" });
                let entry = app.post(format!("{service}/guard/entries")).key(&tenant.live).json(entry).await;
                id(&entry.expect(201)).to_owned()
            }
            Thing::Destination => {
                let on = app.request(Method::PUT, format!("{service}/guard"));
                on.key(&tenant.live).json(json!({ "mode": "on" })).await.expect(200);
                slowed_destination(app, tenant).await
            }
            Thing::Key => {
                let settings = NewKeySettings::named("a key", Mode::Live);
                let key = app.app.issue_key(&By::command_line(), tenant.id, settings).await.expect("a new key");
                key.key.id.to_string()
            }
            Thing::Member | Thing::Session => {
                let member = app.member(tenant, Role::Viewer).await;
                self.rename(Thing::Session, member.session);
                self.rename(Thing::Member, member.user.to_string());
                return;
            }
            Thing::Identity => linked_identity(app, app.member(tenant, Role::Viewer).await.user).await,
            Thing::Invitation | Thing::InvitationToken => return self.invite(app, tenant, operator).await,
            Thing::Access => {
                let by = By::command_line();
                let access = app.app.act_as_tenant(&by, operator, tenant.id, Role::Viewer, "you asked", 60).await;
                access.expect("an access").id.to_string()
            }
            Thing::Announcement => {
                let title = "Soon".to_owned();
                let announced =
                    Announced { title, text: String::new(), level: Level::Info, starts_at: None, ends_at: None };
                let announcement = app.app.announce(&By::command_line(), announced).await;
                announcement.expect("an announcement").id.to_string()
            }
            Thing::Provider => "nobody".to_owned(),
            Thing::Plugin => "plg_01J9ZK3V8X6W5T4S3R2Q1P0N9M".to_owned(),
        };
        self.rename(thing, name);
    }

    /// An invitation that may be sent again, and its token.
    async fn invite(&mut self, app: &TestApp, tenant: &TestTenant, by: UserId) {
        let ports = app.app.ports();
        let sent_at = ports.clock.now().saturating_sub(seconds(3600)).expect("within the calendar");
        let email = AccountEmail::parse("invited@example.com").expect("an address");
        let (invitation, token) =
            Invitation::new(tenant.id, &email, Role::Viewer, by, sent_at, &ports.vault, &*ports.entropy);
        ports.store.commit(vec![Change::insert(&invitation)]).await.expect("it is stored");
        self.rename(Thing::Invitation, invitation.id.to_string());
        self.rename(Thing::InvitationToken, token.reveal());
    }
}

/// The bytes of an id, whatever it is of: those of all kinds are written alike.
pub fn id_bytes(id: &str) -> Option<[u8; 16]> {
    let (_, drawn) = id.split_once('_')?;
    Some(format!("ten_{drawn}").parse::<TenantId>().ok()?.to_bytes())
}

/// A link of somebody's account to one elsewhere, by its id.
pub async fn linked_identity(app: &TestApp, user: UserId) -> String {
    let ports = app.app.ports();
    let subject = user.to_string();
    let link = LinkedIdentity::new(user, "https://accounts.example.com", &subject, ports.clock.now(), &*ports.entropy);
    ports.store.commit(vec![Change::insert(&link)]).await.expect("it is stored");
    link.id.to_string()
}

/// A connection of a tenant, by its id.
async fn connection(app: &TestApp, tenant: &TestTenant) -> String {
    let ports = app.app.ports();
    let now = ports.clock.now();
    let connection = Connection {
        account: None,
        id: ConnectionId::new(now, &*ports.entropy),
        tenant: tenant.id,
        channel: "sms".to_owned(),
        plugin: PluginId::from_bytes([1; 16]),
        name: "ours".to_owned(),
        settings: Settings::default(),
        created_at: now,
        updated_at: now,
    };
    ports.store.commit(vec![Change::insert(&connection)]).await.expect("it is stored");
    connection.id.to_string()
}

/// A connection of a tenant that nothing is wanted of yet, by its id.
async fn live_connection(app: &TestApp, tenant: &TestTenant) -> String {
    let ports = app.app.ports();
    let now = ports.clock.now();
    let connection = LiveConnection {
        id: ConnectionId::new(now, &*ports.entropy),
        tenant: tenant.id,
        channel: "whatsapp".to_owned(),
        name: "our number".to_owned(),
        wish: Wish::Rest,
        auto_reply: None,
        risk_accepted_at: None,
        code_asked_at: None,
        created_at: now,
        updated_at: now,
    };
    ports.store.commit(vec![Change::insert(&connection)]).await.expect("it is stored");
    connection.id.to_string()
}

/// A destination that the watch of the tenant's guard has slowed, by its id.
async fn slowed_destination(app: &TestApp, tenant: &TestTenant) -> String {
    let country = Destination::Country("AQ".to_owned());
    let now = app.app.ports().clock.now();
    let mut watch = Watch::new(tenant.id, tenant.service, country, Some("AQ".to_owned()), now);
    watch.state = State::Slowed;
    app.app.ports().store.commit(vec![Change::insert(&watch)]).await.expect("it is stored");
    watch.id().to_string()
}

/// What a request names, in the order in which it does.
pub struct Names<'t> {
    whose: Whose<'t>,
    asked: Vec<Thing>,
}

enum Whose<'t> {
    Own(&'t Things),
    /// Somebody's own, but for the one in this place, which is another's.
    But {
        own: &'t Things,
        place: usize,
        other: &'t Things,
    },
    /// Nobody's: what is asked for counts.
    Unknown,
}

impl<'t> Names<'t> {
    pub fn of(own: &'t Things) -> Self {
        Self { whose: Whose::Own(own), asked: Vec::new() }
    }

    pub fn but(own: &'t Things, place: usize, other: &'t Things) -> Self {
        Self { whose: Whose::But { own, place, other }, asked: Vec::new() }
    }

    pub fn unknown() -> Self {
        Self { whose: Whose::Unknown, asked: Vec::new() }
    }

    /// What a thing is called.
    pub fn name(&mut self, thing: Thing) -> String {
        let place = self.asked.len();
        self.asked.push(thing);
        let things = match &self.whose {
            Whose::Own(own) => own,
            Whose::But { place: foreign, other, .. } if *foreign == place => other,
            Whose::But { own, .. } => own,
            Whose::Unknown => return format!("<{thing:?}>"),
        };
        things.names.get(&thing).unwrap_or_else(|| panic!("there is no {thing:?}")).clone()
    }

    /// The code that is right for the verification of whoever is named.
    pub fn code(&self) -> String {
        match &self.whose {
            Whose::Own(own) => own.code.clone(),
            Whose::But { other, .. } => other.code.clone(),
            Whose::Unknown => "000000".to_owned(),
        }
    }

    pub fn asked(self) -> Vec<Thing> {
        self.asked
    }
}
