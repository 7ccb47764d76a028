-- What organizations say about versions of theirs, signed. Nothing of it is ever changed but when a key was revoked.

CREATE TABLE attestation_keys (         -- with which they sign: the public halves
  organization TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,                     -- SHA-256 of the key, hex
  public_key BLOB NOT NULL,             -- Ed25519, 32 bytes
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER,
  PRIMARY KEY (organization, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attestations (
  version INTEGER NOT NULL REFERENCES versions (n),
  id TEXT NOT NULL,                     -- SHA-256 of the envelope, hex
  organization TEXT NOT NULL REFERENCES organizations (id),  -- whose keys signed it
  predicate_type TEXT NOT NULL,         -- as the envelope says
  envelope BLOB NOT NULL,               -- DSSE, as JSON
  created_at INTEGER NOT NULL,
  PRIMARY KEY (version, id)
) STRICT;
