# SPDX-License-Identifier: Apache-2.0
"""The error of everything that can be wrong with a folder of images."""


class DataError(ValueError):
    """A data folder, or an image in it, is not what was expected; the text names it and what came instead."""
