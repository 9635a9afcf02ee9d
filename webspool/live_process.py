"""The file that uWSGI's second mule runs, for those who watch."""

from webspool.live.standing_by import main

if __name__ == "__main__":
    main()
