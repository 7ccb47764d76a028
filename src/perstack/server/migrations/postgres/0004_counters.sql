-- How many Experts lists show to everyone: counting a hundred thousand takes a while.
CREATE TABLE counters (
  name TEXT COLLATE "C" PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value) SELECT 'listed', count(*) FROM experts WHERE listed = 1;
