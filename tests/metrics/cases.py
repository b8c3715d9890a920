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


def multi_hot(queries=5, database=30, bits=6, classes=11, seed=0):
    """Labels of several classes each, as numbers of which those > 0 are set."""
    case = retrieval(queries, database, bits, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return *case[:2], *(torch.randn(len(codes), classes, generator=generator) - 1.2 for codes in case[:2])


def as_lists(query_codes, database_codes, query_labels, database_labels):
    """(distances, relevance) of each query."""
    distances = reference.hamming_distance(query_codes, database_codes).tolist()
    if query_labels.dim() == 1:
        relevance = (query_labels.unsqueeze(1) == database_labels).long().tolist()
    else:
        relevance = ((query_labels > 0).unsqueeze(1) & (database_labels > 0)).any(2).long().tolist()
    return list(zip(distances, relevance, strict=True))
