-- The same tables as for SQLite. Times are milliseconds since 1970, UTC. Truth values are 0 and 1. Lists of words are texts with spaces.

CREATE TABLE settings (                 -- what the server knows about itself
  name TEXT COLLATE "C" PRIMARY KEY,
  value BYTEA NOT NULL
);

CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  name TEXT COLLATE "C" UNIQUE,
  type TEXT NOT NULL CHECK (type IN ('personal', 'personalPlus', 'team', 'serviceAdmin')),
  status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'deleted')),
  policy TEXT NOT NULL DEFAULT '{}',    -- JSON
  created_at BIGINT NOT NULL
);

CREATE TABLE accounts (                 -- people and machines that hold keys
  id TEXT PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  created_at BIGINT NOT NULL
);

CREATE TABLE members (
  organization TEXT NOT NULL REFERENCES organizations (id),
  account TEXT NOT NULL REFERENCES accounts (id),
  role TEXT NOT NULL CHECK (role IN ('owner', 'maintainer', 'publisher', 'reader')),
  since BIGINT NOT NULL,
  PRIMARY KEY (organization, account)
);
CREATE INDEX members_account ON members (account);

CREATE TABLE keys (                     -- a key itself is never kept
  id TEXT PRIMARY KEY,
  hash BYTEA NOT NULL UNIQUE,            -- SHA-256
  prefix TEXT NOT NULL,                 -- to show it by
  name TEXT COLLATE "C" NOT NULL,
  organization TEXT NOT NULL REFERENCES organizations (id),
  account TEXT REFERENCES accounts (id),
  scopes TEXT NOT NULL,
  patterns TEXT NOT NULL DEFAULT '',    -- names of Experts, with * at the end for all that begin so; none: all
  networks TEXT NOT NULL DEFAULT '',    -- CIDR; none: from anywhere
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT,
  used_at BIGINT
);
CREATE INDEX keys_organization ON keys (organization, created_at);

CREATE TABLE experts (
  n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  organization TEXT NOT NULL REFERENCES organizations (id),
  visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
  vacated BIGINT NOT NULL DEFAULT 0,   -- it has no version any more; the name stays taken
  latest_policy TEXT NOT NULL DEFAULT 'published' CHECK (latest_policy IN ('published', 'highest-stable')),
  revision BIGINT NOT NULL DEFAULT 1,  -- grows with every change that any answer about it shows
  owner_revision BIGINT NOT NULL DEFAULT 0,  -- grows with changes that every version shows
  created_at BIGINT NOT NULL,
  salt BYTEA NOT NULL,                   -- hides a private name in the log
  readme TEXT NOT NULL DEFAULT '',
  repository TEXT NOT NULL DEFAULT '',
  license TEXT NOT NULL DEFAULT '',
  keywords TEXT NOT NULL DEFAULT '[]',  -- JSON
  weight BIGINT NOT NULL DEFAULT 0,    -- how much it is used: dependents and fetches
  -- of the version that `latest` points to:
  latest BIGINT,
  latest_precedence BYTEA,
  latest_published_at BIGINT,
  latest_updated_at BIGINT,
  listed BIGINT NOT NULL DEFAULT 0     -- whether lists and searches show it to everyone
);
CREATE INDEX experts_organization ON experts (organization, name);
CREATE INDEX experts_by_name ON experts (listed, name);
CREATE INDEX experts_by_version ON experts (listed, latest_precedence, name);
CREATE INDEX experts_by_creation ON experts (listed, latest_published_at, name);
CREATE INDEX experts_by_update ON experts (listed, latest_updated_at, name);
CREATE INDEX experts_by_weight ON experts (listed, weight);

CREATE TABLE versions (
  n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- in the order of publishing
  id TEXT NOT NULL UNIQUE,
  expert BIGINT NOT NULL REFERENCES experts (n),
  version TEXT COLLATE "C" NOT NULL,                -- as written
  precedence BYTEA NOT NULL,             -- sorts as versions do; the same for versions that differ in their build
  stable BIGINT NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,
  size BIGINT NOT NULL,                -- bytes of the document
  description TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'available' CHECK (status IN ('available', 'deprecated', 'disabled')),
  tags TEXT NOT NULL DEFAULT '',        -- from the table of tags, without latest
  deprecation TEXT NOT NULL DEFAULT '', -- JSON
  published_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  revision BIGINT NOT NULL DEFAULT 1,
  quarantined_at BIGINT,
  quarantine_reason TEXT NOT NULL DEFAULT '',
  unpublished_at BIGINT,               -- a tombstone: the number stays taken
  log_index BIGINT NOT NULL,
  publisher TEXT NOT NULL DEFAULT '',   -- who published it, as the audit log says it
  UNIQUE (expert, precedence)
);
CREATE INDEX versions_digest ON versions (digest);
CREATE INDEX versions_published ON versions (expert, n);

CREATE TABLE documents (
  digest TEXT COLLATE "C" PRIMARY KEY,
  body BYTEA NOT NULL,
  delete_after BIGINT                  -- of an unpublished version
);
CREATE INDEX documents_deletion ON documents (delete_after) WHERE delete_after IS NOT NULL;

CREATE TABLE tags (
  expert BIGINT NOT NULL REFERENCES experts (n),
  tag TEXT COLLATE "C" NOT NULL,                    -- never latest
  version BIGINT NOT NULL REFERENCES versions (n),
  PRIMARY KEY (expert, tag)
);
CREATE INDEX tags_version ON tags (version);

CREATE TABLE edges (                    -- what the delegates of a version lead to
  version BIGINT NOT NULL REFERENCES versions (n),
  position BIGINT NOT NULL,
  spec TEXT COLLATE "C" NOT NULL,                   -- as its author wrote it
  kind TEXT NOT NULL,                   -- of the entry that is stored in the document
  target BIGINT NOT NULL REFERENCES experts (n),
  pin BIGINT REFERENCES versions (n),  -- where the document pins one version
  PRIMARY KEY (version, position)
);
CREATE INDEX edges_target ON edges (target, spec);
CREATE INDEX edges_pin ON edges (pin) WHERE pin IS NOT NULL;

CREATE TABLE transfers (                -- offered, not yet accepted
  expert BIGINT PRIMARY KEY REFERENCES experts (n),
  organization TEXT NOT NULL REFERENCES organizations (id),
  offered_by TEXT NOT NULL,
  at BIGINT NOT NULL
);

CREATE TABLE audit (
  seq BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  organization TEXT,
  account TEXT,
  key TEXT,
  subject TEXT,
  address TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before TEXT,                          -- JSON
  after TEXT,                           -- JSON
  previous BYTEA NOT NULL,
  hash BYTEA NOT NULL
);
CREATE INDEX audit_organization ON audit (organization, seq);

CREATE TABLE log_entries (              -- the transparency log's leaves
  idx BIGINT PRIMARY KEY,
  body BYTEA NOT NULL,
  hash BYTEA NOT NULL
);

CREATE TABLE log_tiles (
  level BIGINT NOT NULL,
  tile BIGINT NOT NULL,
  width BIGINT NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (level, tile)
);

CREATE TABLE log_checkpoints (
  size BIGINT PRIMARY KEY,
  root BYTEA NOT NULL,
  note BYTEA NOT NULL,
  at BIGINT NOT NULL
);

CREATE TABLE fetches (                  -- of documents, by day
  expert BIGINT NOT NULL REFERENCES experts (n),
  day TEXT COLLATE "C" NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (expert, day)
);

CREATE TABLE search (
  expert BIGINT PRIMARY KEY REFERENCES experts (n),
  words TSVECTOR NOT NULL               -- A: name, B: description and keywords, C: readme, D: instruction
);
CREATE INDEX search_words ON search USING GIN (words);
