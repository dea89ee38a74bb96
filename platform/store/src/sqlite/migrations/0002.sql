-- What changes during a record's life moves out of `doc` into `state`, so that a change writes only
-- that. The index of addresses moves into tables of its own: a new entry is appended to the log,
-- and goes to its place in the index later, together with its neighbours (see addresses.rs). An
-- idempotency key names the record that it made, so that erasing another forgets nothing of it.

ALTER TABLE verification ADD COLUMN state TEXT NOT NULL DEFAULT '{}';
UPDATE verification SET
    state = json_remove(doc, '$.id', '$.tenant', '$.service', '$.key', '$.mode', '$.address', '$.policy',
                        '$.expires_at', '$.metadata'),
    doc = json_remove(doc, '$.version', '$.status', '$.reason', '$.code', '$.checks_used', '$.sends',
                      '$.dispatch', '$.counted', '$.created_at', '$.ended_at');

ALTER TABLE message ADD COLUMN state TEXT NOT NULL DEFAULT '{}';
UPDATE message SET
    state = json_remove(doc, '$.id', '$.tenant', '$.service', '$.key', '$.mode', '$.address', '$.brand',
                        '$.locale', '$.ack_timeout_seconds', '$.retention', '$.created_at'),
    doc = json_remove(doc, '$.version', '$.content', '$.dispatch', '$.counted');

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
    SELECT tenant, address_index, id FROM verification WHERE address_index IS NOT NULL ORDER BY tenant, address_index, id;

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
    SELECT tenant, address_index, id FROM message WHERE address_index IS NOT NULL ORDER BY tenant, address_index, id;

ALTER TABLE idempotency ADD COLUMN record BLOB;
UPDATE idempotency SET record = (
    SELECT id FROM verification WHERE verification.tenant = idempotency.tenant AND verification.idempotency = idempotency.key
    UNION ALL
    SELECT id FROM message WHERE message.tenant = idempotency.tenant AND message.idempotency = idempotency.key
    ORDER BY id DESC LIMIT 1
);
