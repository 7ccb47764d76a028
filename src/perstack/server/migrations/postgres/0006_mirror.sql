-- What other registries said about names that are mirrored here. Of each upstream there are

CREATE TABLE mirror_answers (           -- what it answered, by path; kept as long as it may be shown
  upstream TEXT COLLATE "C" NOT NULL,               -- its URL
  path TEXT COLLATE "C" NOT NULL,                   -- below the prefix of the API
  etag TEXT COLLATE "C" NOT NULL,
  body BYTEA NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,                 -- of the body
  private BIGINT NOT NULL,             -- whether it answers so only to the key it gave us
  checked_at BIGINT NOT NULL,
  PRIMARY KEY (upstream, path)
);
CREATE INDEX mirror_answers_age ON mirror_answers (checked_at);

CREATE TABLE mirror_versions (          -- every version that it ever listed; never deleted
  upstream TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  version TEXT COLLATE "C" NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  private BIGINT NOT NULL,
  listed BIGINT NOT NULL,              -- whether it is in the index of this name now
  PRIMARY KEY (upstream, name, version)
);
CREATE INDEX mirror_versions_digest ON mirror_versions (digest);

CREATE TABLE mirror_documents (         -- fetched once, kept for ever
  digest TEXT COLLATE "C" PRIMARY KEY,
  body BYTEA NOT NULL
);
