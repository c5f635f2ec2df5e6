-- What is said of an adapter that takes effect only in part. Receipts made before do not say what of a file is left out, and
-- more of it is read now: they are made again when next asked for.
DELETE FROM adapter_receipts;
ALTER TABLE adapter_receipts ADD COLUMN warning TEXT;
