-- Which jobs of CI may publish which Experts without a stored key. All that is kept of a token is what it said.

CREATE TABLE trusted_publishers (
  id TEXT PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,                   -- of an Expert, published or not
  organization TEXT NOT NULL REFERENCES organizations (id),
  issuer TEXT COLLATE "C" NOT NULL,                 -- URL
  repository TEXT COLLATE "C" NOT NULL,             -- in lower case
  workflow TEXT COLLATE "C" NOT NULL,               -- path in the repository
  environment TEXT COLLATE "C" NOT NULL,            -- empty: any, or none
  owner_id TEXT COLLATE "C" NOT NULL,               -- of the repository, as the first token said; empty until then
  created_at BIGINT NOT NULL,
  used_at BIGINT,
  UNIQUE (name, organization, issuer, repository, workflow, environment)
);
CREATE INDEX trusted_publishers_repository ON trusted_publishers (issuer, repository);

CREATE TABLE exchanges (                -- tokens that were exchanged for a key
  issuer TEXT COLLATE "C" NOT NULL,
  jti TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL UNIQUE,
  subject TEXT COLLATE "C" NOT NULL,
  repository TEXT COLLATE "C" NOT NULL,
  workflow TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  ref TEXT COLLATE "C" NOT NULL,
  commit_id TEXT COLLATE "C" NOT NULL,
  forget_at BIGINT NOT NULL,           -- when neither token nor key is good for anything any more
  PRIMARY KEY (issuer, jti)
);
CREATE INDEX exchanges_forget ON exchanges (forget_at);

CREATE TABLE provenance (               -- of versions that were published by such a key
  version BIGINT PRIMARY KEY REFERENCES versions (n),
  issuer TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  repository TEXT COLLATE "C" NOT NULL,
  workflow TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  ref TEXT COLLATE "C" NOT NULL,
  commit_id TEXT COLLATE "C" NOT NULL
);

ALTER TABLE experts ADD COLUMN trusted_only BIGINT NOT NULL DEFAULT 0;  -- only such keys publish it
