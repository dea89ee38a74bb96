-- What happened to verifications and was not told of yet. It is appended to in the commit that stores the
-- change, and taken in the one that tells of it. Numbers are used again once all before are taken, so what is
-- taken is named by verification and version too.

CREATE TABLE outbox (
    number  INTEGER PRIMARY KEY NOT NULL,
    id      BLOB NOT NULL,
    version INTEGER NOT NULL,
    doc     TEXT NOT NULL
) STRICT;
