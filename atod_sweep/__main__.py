"""`python -m atod_sweep`: the command line, without what Python puts first on the path, the current folder."""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # before anything is imported that a file there could stand in for
    from atod_sweep.cli import main

    main()
