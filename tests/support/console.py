"""What the console script does; Python puts the folder of this file first on the path, not the current one."""

from atod_sweep.cli import main

if __name__ == "__main__":
    main()
