-- Which process keeps a live connection, and what that must remember for it, sealed. A fence is higher than all before
-- it, and what is written with a lower one is refused.
CREATE TABLE connection_lease (
    tenant     BLOB NOT NULL,
    connection BLOB NOT NULL,
    holder     BLOB NOT NULL,
    fence      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (tenant, connection)
) STRICT, WITHOUT ROWID;

-- Values are some kilobytes: with rows of their own, and an index by which they are found.
CREATE TABLE connection_state (
    tenant     BLOB NOT NULL,
    connection BLOB NOT NULL,
    key        BLOB NOT NULL,
    value      BLOB NOT NULL,
    PRIMARY KEY (tenant, connection, key)
) STRICT;
