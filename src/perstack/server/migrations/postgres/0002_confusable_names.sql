-- Finds names that could be mistaken for each other; the expression is FOLD_SQL in names.py.

CREATE INDEX experts_by_fold ON experts (
  replace(replace(replace(replace(replace(replace(name, '-', ''), '_', ''), '.', ''), '0', 'o'), '1', 'l'), 'i', 'l')
);
