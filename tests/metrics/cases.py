# SPDX-License-Identifier: Apache-2.0
import torch

from fasthash import reference


def retrieval(queries=4, database=6, bits=4, classes=3, seed=0):
    """Codes of few bits, so that distances tie; class 0 never occurs in the database."""
    generator = torch.Generator().manual_seed(seed)
    codes = [reference.pack_codes(torch.randn(n, bits, generator=generator)) for n in (queries, database)]
    query_labels = torch.randint(0, classes, (queries,), generator=generator)
    database_labels = torch.randint(1, classes, (database,), generator=generator)
    return *codes, query_labels, database_labels


def as_lists(query_codes, database_codes, query_labels, database_labels):
    """(distances, relevance) of each query."""
    distances = reference.hamming_distance(query_codes, database_codes).tolist()
    relevance = (query_labels.unsqueeze(1) == database_labels).long().tolist()
    return list(zip(distances, relevance, strict=True))
