-- Whose token it is: it ends with its user. Without one it is the instance's own.
ALTER TABLE token ADD COLUMN user TEXT;
