-- Times are milliseconds since 1970, UTC. Truth values are 0 and 1. Lists of words are texts with spaces.

CREATE TABLE settings (                 -- what the server knows about itself
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  name TEXT UNIQUE,
  type TEXT NOT NULL CHECK (type IN ('personal', 'personalPlus', 'team', 'serviceAdmin')),
  status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'deleted')),
  policy TEXT NOT NULL DEFAULT '{}',    -- JSON
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (                 -- people and machines that hold keys
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
  organization TEXT NOT NULL REFERENCES organizations (id),
  account TEXT NOT NULL REFERENCES accounts (id),
  role TEXT NOT NULL CHECK (role IN ('owner', 'maintainer', 'publisher', 'reader')),
  since INTEGER NOT NULL,
  PRIMARY KEY (organization, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_account ON members (account);

CREATE TABLE keys (                     -- a key itself is never kept
  id TEXT PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,            -- SHA-256
  prefix TEXT NOT NULL,                 -- to show it by
  name TEXT NOT NULL,
  organization TEXT NOT NULL REFERENCES organizations (id),
  account TEXT REFERENCES accounts (id),
  scopes TEXT NOT NULL,
  patterns TEXT NOT NULL DEFAULT '',    -- names of Experts, with * at the end for all that begin so; none: all
  networks TEXT NOT NULL DEFAULT '',    -- CIDR; none: from anywhere
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER,
  used_at INTEGER
) STRICT;
CREATE INDEX keys_organization ON keys (organization, created_at);

CREATE TABLE experts (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  organization TEXT NOT NULL REFERENCES organizations (id),
  visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
  vacated INTEGER NOT NULL DEFAULT 0,   -- it has no version any more; the name stays taken
  latest_policy TEXT NOT NULL DEFAULT 'published' CHECK (latest_policy IN ('published', 'highest-stable')),
  revision INTEGER NOT NULL DEFAULT 1,  -- grows with every change that any answer about it shows
  owner_revision INTEGER NOT NULL DEFAULT 0,  -- grows with changes that every version shows
  created_at INTEGER NOT NULL,
  salt BLOB NOT NULL,                   -- hides a private name in the log
  readme TEXT NOT NULL DEFAULT '',
  repository TEXT NOT NULL DEFAULT '',
  license TEXT NOT NULL DEFAULT '',
  keywords TEXT NOT NULL DEFAULT '[]',  -- JSON
  weight INTEGER NOT NULL DEFAULT 0,    -- how much it is used: dependents and fetches
  -- of the version that `latest` points to:
  latest INTEGER,
  latest_precedence BLOB,
  latest_published_at INTEGER,
  latest_updated_at INTEGER,
  listed INTEGER NOT NULL DEFAULT 0     -- whether lists and searches show it to everyone
) STRICT;
CREATE INDEX experts_organization ON experts (organization, name);
CREATE INDEX experts_by_name ON experts (listed, name);
CREATE INDEX experts_by_version ON experts (listed, latest_precedence, name);
CREATE INDEX experts_by_creation ON experts (listed, latest_published_at, name);
CREATE INDEX experts_by_update ON experts (listed, latest_updated_at, name);
CREATE INDEX experts_by_weight ON experts (listed, weight);

CREATE TABLE versions (
  n INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of publishing
  id TEXT NOT NULL UNIQUE,
  expert INTEGER NOT NULL REFERENCES experts (n),
  version TEXT NOT NULL,                -- as written
  precedence BLOB NOT NULL,             -- sorts as versions do; the same for versions that differ in their build
  stable INTEGER NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,                -- bytes of the document
  description TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'available' CHECK (status IN ('available', 'deprecated', 'disabled')),
  tags TEXT NOT NULL DEFAULT '',        -- from the table of tags, without latest
  deprecation TEXT NOT NULL DEFAULT '', -- JSON
  published_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  revision INTEGER NOT NULL DEFAULT 1,
  quarantined_at INTEGER,
  quarantine_reason TEXT NOT NULL DEFAULT '',
  unpublished_at INTEGER,               -- a tombstone: the number stays taken
  log_index INTEGER NOT NULL,
  publisher TEXT NOT NULL DEFAULT '',   -- who published it, as the audit log says it
  UNIQUE (expert, precedence)
) STRICT;
CREATE INDEX versions_digest ON versions (digest);
CREATE INDEX versions_published ON versions (expert, n);

CREATE TABLE documents (
  digest TEXT PRIMARY KEY,
  body BLOB NOT NULL,
  delete_after INTEGER                  -- of an unpublished version
) STRICT;
CREATE INDEX documents_deletion ON documents (delete_after) WHERE delete_after IS NOT NULL;

CREATE TABLE tags (
  expert INTEGER NOT NULL REFERENCES experts (n),
  tag TEXT NOT NULL,                    -- never latest
  version INTEGER NOT NULL REFERENCES versions (n),
  PRIMARY KEY (expert, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_version ON tags (version);

CREATE TABLE edges (                    -- what the delegates of a version lead to
  version INTEGER NOT NULL REFERENCES versions (n),
  position INTEGER NOT NULL,
  spec TEXT NOT NULL,                   -- as its author wrote it
  kind TEXT NOT NULL,                   -- of the entry that is stored in the document
  target INTEGER NOT NULL REFERENCES experts (n),
  pin INTEGER REFERENCES versions (n),  -- where the document pins one version
  PRIMARY KEY (version, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_target ON edges (target, spec);
CREATE INDEX edges_pin ON edges (pin) WHERE pin IS NOT NULL;

CREATE TABLE transfers (                -- offered, not yet accepted
  expert INTEGER PRIMARY KEY REFERENCES experts (n),
  organization TEXT NOT NULL REFERENCES organizations (id),
  offered_by TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  organization TEXT,
  account TEXT,
  key TEXT,
  subject TEXT,
  address TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before TEXT,                          -- JSON
  after TEXT,                           -- JSON
  previous BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_organization ON audit (organization, seq);

CREATE TABLE log_entries (              -- the transparency log's leaves
  idx INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;

CREATE TABLE log_tiles (
  level INTEGER NOT NULL,
  tile INTEGER NOT NULL,
  width INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (level, tile)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_checkpoints (
  size INTEGER PRIMARY KEY,
  root BLOB NOT NULL,
  note BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT;

CREATE TABLE fetches (                  -- of documents, by day
  expert INTEGER NOT NULL REFERENCES experts (n),
  day TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (expert, day)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE search USING fts5 (  -- rowid: experts.n
  name, description, keywords, readme, instruction, tokenize = 'unicode61 remove_diacritics 2'
);
