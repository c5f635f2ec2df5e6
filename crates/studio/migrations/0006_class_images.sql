-- The dataset that came along with this one and holds its class pictures.
ALTER TABLE datasets ADD COLUMN class_dataset TEXT;
