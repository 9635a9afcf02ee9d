"""The life of a job as a small model, every reachable state of which is looked at: `make model`."""
