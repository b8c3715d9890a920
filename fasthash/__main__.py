# SPDX-License-Identifier: Apache-2.0
"""`python -m fasthash` is the command line `fasthash`."""

from fasthash.cli import main

if __name__ == "__main__":
    main()
