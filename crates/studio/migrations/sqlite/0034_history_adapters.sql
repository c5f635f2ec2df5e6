-- A search for words or adapters reads this instead of the rows: it has every column that such a search compares.
DROP INDEX history_by_words;
CREATE INDEX history_by_words ON history (visitor, created_at, words, adapters, generation, position);
