# SPDX-License-Identifier: Apache-2.0
"""Images, splits, batches and augmentation for training and measuring hash codes."""

from fasthash.data.augment import Augmentation
from fasthash.data.codes import CodeSet
from fasthash.data.decode import decode_image
from fasthash.data.digits import digits, stratified_draw
from fasthash.data.errors import DataError
from fasthash.data.folder import ImageFolder
from fasthash.data.images import Batch, ImageSplits, LabelledImages
from fasthash.data.sampling import PKBatchSampler

__all__ = [
    "Augmentation",
    "Batch",
    "CodeSet",
    "DataError",
    "ImageFolder",
    "ImageSplits",
    "LabelledImages",
    "PKBatchSampler",
    "decode_image",
    "digits",
    "stratified_draw",
]
