-- A search for words reads this instead of every row.
CREATE INDEX history_by_words ON history (visitor, created_at, words, generation, position);
