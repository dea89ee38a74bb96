-- Which nodes are there, which of them owns what for a while, and by what a master key is known. One
-- process serves a file, so these say little here; they are the same promises as where many do.

CREATE TABLE node (
    id  BLOB PRIMARY KEY NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE TABLE lease (
    name   TEXT PRIMARY KEY NOT NULL,
    holder BLOB NOT NULL,
    fence  INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
CREATE TABLE key_check (
    key   INTEGER PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;
