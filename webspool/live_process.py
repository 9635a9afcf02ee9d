"""The file that uWSGI's second mule runs, for those who watch."""

from webspool.standby import main

if __name__ == "__main__":
    main()
