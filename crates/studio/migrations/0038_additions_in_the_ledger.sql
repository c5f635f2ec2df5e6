-- Rows of the ledger may have the action `add`. Programs that do not know it would take such a row for one that was tampered
-- with, so they must refuse the database; the layout stays as it is.
UPDATE ledger_heads SET moves = moves WHERE 1 = 0;
