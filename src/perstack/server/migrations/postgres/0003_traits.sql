-- What searches filter by. In both tables a private Expert has the negative of its number, and one that is neither
-- listed nor private is not there.

CREATE TABLE traits (
  kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('skill', 'package', 'env', 'tag', 'status', 'scope')),
  value TEXT COLLATE "C" NOT NULL,
  expert BIGINT NOT NULL,
  PRIMARY KEY (kind, value, expert)
);
CREATE INDEX traits_expert ON traits (expert);

ALTER TABLE search DROP CONSTRAINT search_expert_fkey;

ALTER TABLE experts ADD COLUMN dependents BIGINT NOT NULL DEFAULT 0;  -- Experts that delegate, or did, to this one
