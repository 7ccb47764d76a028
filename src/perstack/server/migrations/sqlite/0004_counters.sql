-- How many Experts lists show to everyone: counting a hundred thousand takes a while.
CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) SELECT 'listed', count(*) FROM experts WHERE listed = 1;
