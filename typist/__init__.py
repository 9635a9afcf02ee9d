"""Types what the pages say, in the order in which they say it, and looks what comes of it: ./run type --help."""
