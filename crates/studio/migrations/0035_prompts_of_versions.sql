-- The most frequent prompts of one version are counted from this alone, as those of all versions are.
DROP INDEX generations_by_prompt;
CREATE INDEX generations_by_prompt ON generations (prompt_key, id, versions);
