"""The file that uWSGI's mule runs. A `module:function` there crashes under lazy-apps, where mules have no loaders."""

from webspool.mule import main

if __name__ == "__main__":
    main()
