-- What changes rarely and is found by a few keys: people, memberships, endpoints, events. One table for all
-- kinds; `entity_key` finds them, and `entity_unique` says what no two may have.

CREATE TABLE entity (
    kind    TEXT NOT NULL,
    owner   BLOB NOT NULL,
    id      BLOB NOT NULL,
    version INTEGER NOT NULL,
    wake_at INTEGER,
    doc     TEXT NOT NULL,
    PRIMARY KEY (owner, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_wake ON entity (kind, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX entity_kind ON entity (kind, id);

CREATE TABLE entity_key (
    kind  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    id    BLOB NOT NULL,
    owner BLOB NOT NULL,
    PRIMARY KEY (kind, name, value, id, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_key_of ON entity_key (kind, owner, id);

CREATE TABLE entity_unique (
    kind  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    owner BLOB NOT NULL,
    id    BLOB NOT NULL,
    PRIMARY KEY (kind, name, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX entity_unique_of ON entity_unique (kind, owner, id);
