-- What searches filter by. In both tables a private Expert has the negative of its number, and one that is neither
-- listed nor private is not there.

CREATE TABLE traits (
  kind TEXT NOT NULL CHECK (kind IN ('skill', 'package', 'env', 'tag', 'status', 'scope')),
  value TEXT NOT NULL,
  expert INTEGER NOT NULL,
  PRIMARY KEY (kind, value, expert)
) STRICT, WITHOUT ROWID;
CREATE INDEX traits_expert ON traits (expert);

ALTER TABLE experts ADD COLUMN dependents INTEGER NOT NULL DEFAULT 0;  -- Experts that delegate, or did, to this one
