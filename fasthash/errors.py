# SPDX-License-Identifier: Apache-2.0
"""Exceptions of the package. A user's wrong argument is a plain ValueError."""

from __future__ import annotations


class FileFormatError(ValueError):
    """A file that is not what it should be: truncated, tampered with, of another format or of a newer version.

    The text names the file and what is wrong with it. A file that cannot be read at all is an OSError.
    """
