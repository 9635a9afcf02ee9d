"""Power cuts: what processes did to their files is recorded, and the disk made as it would be without the rest."""
