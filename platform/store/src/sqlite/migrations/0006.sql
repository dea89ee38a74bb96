-- When a key is over: those that work are found without reading those that do not, and those that were over for long
-- enough without reading the others. A document that is no JSON stays as it is, and is never over.
ALTER TABLE api_key ADD COLUMN over_at INTEGER NOT NULL DEFAULT 9223372036854775807;
UPDATE api_key SET over_at = coalesce(
    CASE WHEN json_valid(doc) THEN
        CAST(1000000 * min(
            coalesce(unixepoch(doc ->> '$.revoked_at', 'subsec'), unixepoch(doc ->> '$.expires_at', 'subsec')),
            coalesce(unixepoch(doc ->> '$.expires_at', 'subsec'), unixepoch(doc ->> '$.revoked_at', 'subsec'))
        ) AS INTEGER)
    END,
    over_at
);
CREATE INDEX api_key_working ON api_key (tenant, over_at);
CREATE INDEX api_key_over ON api_key (over_at);

-- What one owner has with a value that others have too, without walking over theirs.
CREATE INDEX entity_key_owned ON entity_key (kind, name, value, owner, id);
