-- What changes during a record's life moves into a narrow table beside it, so that a change writes
-- a tenth of what it did, and what changes at one moment shares pages. The index of addresses moves
-- into tables of its own: a new entry is appended to the log, and goes to its place in the index
-- later, together with its neighbours (see addresses.rs). An idempotency key names the record that it
-- made, so that erasing another forgets nothing of it.
--
-- A document that is no JSON stays as it is, broken: one must not keep all the others from being served.

CREATE TABLE verification_state (
    number      INTEGER PRIMARY KEY,
    version     INTEGER NOT NULL,
    wake_at     INTEGER NOT NULL,
    leased      INTEGER NOT NULL,
    status      INTEGER NOT NULL,
    idempotency BLOB,
    doc         TEXT NOT NULL
) STRICT;
INSERT INTO verification_state
    SELECT number, version, wake_at, leased, status, idempotency,
           CASE WHEN json_valid(doc)
                THEN json_remove(doc, '$.id', '$.tenant', '$.service', '$.key', '$.mode', '$.address', '$.policy',
                                 '$.expires_at', '$.metadata')
                ELSE doc END
    FROM verification;
UPDATE verification SET doc = json_remove(doc, '$.version', '$.status', '$.reason', '$.code', '$.checks_used',
                                          '$.sends', '$.dispatch', '$.counted', '$.created_at', '$.ended_at')
    WHERE json_valid(doc);
DROP INDEX verification_wake;
ALTER TABLE verification DROP COLUMN version;
ALTER TABLE verification DROP COLUMN wake_at;
ALTER TABLE verification DROP COLUMN leased;
ALTER TABLE verification DROP COLUMN status;
CREATE INDEX verification_wake ON verification_state (wake_at, leased);

CREATE TABLE message_state (
    number      INTEGER PRIMARY KEY,
    version     INTEGER NOT NULL,
    wake_at     INTEGER NOT NULL,
    leased      INTEGER NOT NULL,
    status      INTEGER NOT NULL,
    idempotency BLOB,
    doc         TEXT NOT NULL
) STRICT;
INSERT INTO message_state
    SELECT number, version, wake_at, leased, status, idempotency,
           CASE WHEN json_valid(doc)
                THEN json_remove(doc, '$.id', '$.tenant', '$.service', '$.key', '$.mode', '$.address', '$.brand',
                                 '$.locale', '$.ack_timeout_seconds', '$.retention', '$.created_at')
                ELSE doc END
    FROM message;
UPDATE message SET doc = json_remove(doc, '$.version', '$.content', '$.dispatch', '$.counted') WHERE json_valid(doc);
DROP INDEX message_wake;
ALTER TABLE message DROP COLUMN version;
ALTER TABLE message DROP COLUMN wake_at;
ALTER TABLE message DROP COLUMN leased;
ALTER TABLE message DROP COLUMN status;
CREATE INDEX message_wake ON message_state (wake_at, leased);

-- For this migration only: without them each key would be looked for among all records of its tenant.
CREATE INDEX verification_idempotency ON verification (tenant, idempotency) WHERE idempotency IS NOT NULL;
CREATE INDEX message_idempotency ON message (tenant, idempotency) WHERE idempotency IS NOT NULL;
ALTER TABLE idempotency ADD COLUMN record BLOB;
UPDATE idempotency SET record = coalesce(
    (SELECT max(id) FROM verification INDEXED BY verification_idempotency
     WHERE verification.tenant = idempotency.tenant AND verification.idempotency = idempotency.key),
    (SELECT max(id) FROM message INDEXED BY message_idempotency
     WHERE message.tenant = idempotency.tenant AND message.idempotency = idempotency.key)
);
-- What a key repeats keeps its secret no longer than its record does.
UPDATE idempotency SET doc = json_remove(doc, '$.code')
    WHERE json_valid(doc) AND EXISTS (
        SELECT 1 FROM verification JOIN verification_state USING (number)
        WHERE verification.tenant = idempotency.tenant AND verification.id = idempotency.record AND status <> 1
    );
UPDATE idempotency SET doc = json_remove(doc, '$.content')
    WHERE json_valid(doc) AND EXISTS (
        SELECT 1 FROM message JOIN message_state USING (number)
        WHERE message.tenant = idempotency.tenant AND message.id = idempotency.record
              AND json_valid(message_state.doc) AND json_extract(message_state.doc, '$.content') IS NULL
    );
DROP INDEX verification_idempotency;
DROP INDEX message_idempotency;
ALTER TABLE verification DROP COLUMN idempotency;
ALTER TABLE message DROP COLUMN idempotency;

DROP INDEX verification_address;
CREATE TABLE verification_address (
    tenant  BLOB NOT NULL,
    address BLOB NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (tenant, address, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE verification_address_log (
    number  INTEGER PRIMARY KEY,
    tenant  BLOB NOT NULL,
    address BLOB NOT NULL,
    id      BLOB NOT NULL
) STRICT;
INSERT INTO verification_address
    SELECT tenant, address_index, id FROM verification WHERE address_index IS NOT NULL
    ORDER BY tenant, address_index, id;

DROP INDEX message_address;
CREATE TABLE message_address (
    tenant  BLOB NOT NULL,
    address BLOB NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (tenant, address, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE message_address_log (
    number  INTEGER PRIMARY KEY,
    tenant  BLOB NOT NULL,
    address BLOB NOT NULL,
    id      BLOB NOT NULL
) STRICT;
INSERT INTO message_address
    SELECT tenant, address_index, id FROM message WHERE address_index IS NOT NULL
    ORDER BY tenant, address_index, id;
