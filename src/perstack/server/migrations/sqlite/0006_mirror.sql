-- What other registries said about names that are mirrored here. Of each upstream there are

CREATE TABLE mirror_answers (           -- what it answered, by path; kept as long as it may be shown
  upstream TEXT NOT NULL,               -- its URL
  path TEXT NOT NULL,                   -- below the prefix of the API
  etag TEXT NOT NULL,
  body BLOB NOT NULL,
  digest TEXT NOT NULL,                 -- of the body
  private INTEGER NOT NULL,             -- whether it answers so only to the key it gave us
  checked_at INTEGER NOT NULL,
  PRIMARY KEY (upstream, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX mirror_answers_age ON mirror_answers (checked_at);

CREATE TABLE mirror_versions (          -- every version that it ever listed; never deleted
  upstream TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  digest TEXT NOT NULL,
  private INTEGER NOT NULL,
  listed INTEGER NOT NULL,              -- whether it is in the index of this name now
  PRIMARY KEY (upstream, name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX mirror_versions_digest ON mirror_versions (digest);

CREATE TABLE mirror_documents (         -- fetched once, kept for ever
  digest TEXT PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;
