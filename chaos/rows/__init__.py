"""One module for each thing that is broken; see `chaos`."""
