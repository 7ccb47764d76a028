-- Which jobs of CI may publish which Experts without a stored key. All that is kept of a token is what it said.

CREATE TABLE trusted_publishers (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,                   -- of an Expert, published or not
  organization TEXT NOT NULL REFERENCES organizations (id),
  issuer TEXT NOT NULL,                 -- URL
  repository TEXT NOT NULL,             -- in lower case
  workflow TEXT NOT NULL,               -- path in the repository
  environment TEXT NOT NULL,            -- empty: any, or none
  owner_id TEXT NOT NULL,               -- of the repository, as the first token said; empty until then
  created_at INTEGER NOT NULL,
  used_at INTEGER,
  UNIQUE (name, organization, issuer, repository, workflow, environment)
) STRICT;
CREATE INDEX trusted_publishers_repository ON trusted_publishers (issuer, repository);

CREATE TABLE exchanges (                -- tokens that were exchanged for a key
  issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  key TEXT NOT NULL UNIQUE,
  subject TEXT NOT NULL,
  repository TEXT NOT NULL,
  workflow TEXT NOT NULL,
  environment TEXT NOT NULL,
  ref TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  forget_at INTEGER NOT NULL,           -- when neither token nor key is good for anything any more
  PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;
CREATE INDEX exchanges_forget ON exchanges (forget_at);

CREATE TABLE provenance (               -- of versions that were published by such a key
  version INTEGER PRIMARY KEY REFERENCES versions (n),
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  repository TEXT NOT NULL,
  workflow TEXT NOT NULL,
  environment TEXT NOT NULL,
  ref TEXT NOT NULL,
  commit_id TEXT NOT NULL
) STRICT;

ALTER TABLE experts ADD COLUMN trusted_only INTEGER NOT NULL DEFAULT 0;  -- only such keys publish it
