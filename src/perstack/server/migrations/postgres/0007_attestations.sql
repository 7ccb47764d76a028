-- What organizations say about versions of theirs, signed. Nothing of it is ever changed but when a key was revoked.

CREATE TABLE attestation_keys (         -- with which they sign: the public halves
  organization TEXT NOT NULL REFERENCES organizations (id),
  id TEXT COLLATE "C" NOT NULL,         -- SHA-256 of the key, hex
  public_key BYTEA NOT NULL,            -- Ed25519, 32 bytes
  name TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT,
  PRIMARY KEY (organization, id)
);

CREATE TABLE attestations (
  version BIGINT NOT NULL REFERENCES versions (n),
  id TEXT COLLATE "C" NOT NULL,         -- SHA-256 of the envelope, hex
  organization TEXT NOT NULL REFERENCES organizations (id),  -- whose keys signed it
  predicate_type TEXT COLLATE "C" NOT NULL,  -- as the envelope says
  envelope BYTEA NOT NULL,              -- DSSE, as JSON
  created_at BIGINT NOT NULL,
  PRIMARY KEY (version, id)
);
