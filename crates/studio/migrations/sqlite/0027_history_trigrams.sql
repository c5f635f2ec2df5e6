-- SQLite has an index of words since the step before.
SELECT 1;
