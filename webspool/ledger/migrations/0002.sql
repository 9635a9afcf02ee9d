-- The newest generation of the code that the spooler has tried to run, and why its runner could not import it, if so.
ALTER TABLE process ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE process ADD COLUMN broken TEXT;
