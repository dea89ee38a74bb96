-- Documents are JSON; a column stands beside it only where a query needs it. Times are microseconds
-- since 1970, ids are 16 bytes that sort by time. `number` is SQLite's own row number: new rows go
-- to the end of the table, so that its pages are written once and not split.

CREATE TABLE tenant (
    id  BLOB PRIMARY KEY NOT NULL,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE service (
    tenant  BLOB NOT NULL,
    id      BLOB NOT NULL,
    version INTEGER NOT NULL,
    doc     TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT;

CREATE TABLE api_key (
    hash   BLOB PRIMARY KEY NOT NULL,
    tenant BLOB NOT NULL,
    id     BLOB NOT NULL,
    doc    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX api_key_id ON api_key (tenant, id);

CREATE TABLE verification (
    number        INTEGER PRIMARY KEY,
    tenant        BLOB NOT NULL,
    id            BLOB NOT NULL,
    version       INTEGER NOT NULL,
    wake_at       INTEGER NOT NULL,
    leased        INTEGER NOT NULL,
    mode          INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    service       BLOB NOT NULL,
    address_index BLOB,
    idempotency   BLOB,
    doc           TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX verification_id ON verification (tenant, id);
CREATE INDEX verification_address ON verification (tenant, address_index, id) WHERE address_index IS NOT NULL;
CREATE INDEX verification_wake ON verification (wake_at, leased);

CREATE TABLE message (
    number        INTEGER PRIMARY KEY,
    tenant        BLOB NOT NULL,
    id            BLOB NOT NULL,
    version       INTEGER NOT NULL,
    wake_at       INTEGER NOT NULL,
    leased        INTEGER NOT NULL,
    mode          INTEGER NOT NULL,
    status        INTEGER NOT NULL,
    service       BLOB NOT NULL,
    address_index BLOB,
    idempotency   BLOB,
    doc           TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX message_id ON message (tenant, id);
CREATE INDEX message_address ON message (tenant, address_index, id) WHERE address_index IS NOT NULL;
CREATE INDEX message_wake ON message (wake_at, leased);

CREATE TABLE usage (
    tenant   BLOB NOT NULL,
    resource INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    starts   INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    overage  INTEGER NOT NULL,
    PRIMARY KEY (tenant, resource, kind, starts)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_starts ON usage (starts);

CREATE TABLE idempotency (
    tenant      BLOB NOT NULL,
    key         BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    expires_at  INTEGER NOT NULL,
    doc         TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT;
CREATE INDEX idempotency_expires ON idempotency (expires_at);
