# SPDX-License-Identifier: Apache-2.0
"""``python -m fasthash.cli`` is ``fasthash``."""

from fasthash.cli import main

main()
