# SPDX-License-Identifier: Apache-2.0
"""Where an index keeps its codes: the scan layout, with room to grow, and their ids beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fasthash.index import layout
from fasthash.packed_database import TILE_CODES, PackedDatabase, shape_of

_CHUNK_BYTES = 1 << 24  # codes on the way from one form to the other


@dataclass(frozen=True, eq=False)
class CodeStore:
    """Codes and ids that never change; what adds or removes codes returns another store.

    A store and the one that `appended` makes of it share memory: the new codes lie behind those of the old store, in
    room that only the latest store of a line may use.

    Attributes:
        words: (G, words, 8) int64, the scan layout with room for more codes than there are.
        capacity_ids: (capacity,) int64 ids, ascending as far as there are codes.
        count: number of codes N.
        width: bytes of one code W.
        pinned: page-locked host memory, from which a CUDA device copies while it computes.
    """

    words: Tensor
    capacity_ids: Tensor
    count: int
    width: int
    pinned: bool = False

    @classmethod
    def empty(cls, width: int, device: torch.device, *, pinned: bool = False, capacity: int = 0) -> CodeStore:
        """A store of no codes.

        Raises:
            MemoryError: there is no room for `capacity` codes.
        """
        shape = shape_of(capacity, width)
        try:
            words = torch.empty(shape, dtype=torch.int64, device=device, pin_memory=pinned)
            ids = torch.empty(capacity, dtype=torch.int64, device=device)
        except RuntimeError as error:
            size = 8 * (shape[0] * shape[1] * shape[2] + capacity)
            kind = "pinned memory" if pinned else f"memory on {device}"
            reason = str(error).splitlines()[0]
            raise MemoryError(
                f"HammingIndex: {capacity} codes of {width} bytes need {size} bytes of {kind}, which could not be "
                f"allocated ({reason})"
            ) from error
        return cls(words, ids, 0, width, pinned)

    @property
    def device(self) -> torch.device:
        """Where the codes lie."""
        return self.words.device

    @property
    def ids(self) -> Tensor:
        """(N,) int64 ids, ascending; a view."""
        return self.capacity_ids[: self.count]

    @cached_property
    def database(self) -> PackedDatabase:
        """The codes as operators take them; a view."""
        return PackedDatabase(self.words[: layout.lines_of(self.count, self.width)], self.count, self.width)

    def rows(self, positions: Tensor) -> Tensor:
        """(n, W) uint8 codes at positions (n,)."""
        return layout.to_bytes(layout.take(self.words, self.width, positions), self.width)

    def find(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (n,) of ids (n,), and which of them are here at all; positions of others mean nothing."""
        if not self.count:
            return torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        if int(self.ids[-1] - self.ids[0]) == self.count - 1:  # none is left out
            return ids - self.ids[0], (ids >= self.ids[0]) & (ids <= self.ids[-1])
        positions = torch.searchsorted(self.ids, ids.contiguous()).clamp_(max=self.count - 1)
        return positions, self.ids[positions] == ids

    def appended(self, rows: Tensor, ids: Tensor) -> CodeStore:
        """With rows (n, W) uint8 from any device behind all others; `ids` are not looked at."""
        end = self.count + len(ids)
        grown = self._with_room(end)
        grown._fill_up(end)
        for first, part in self._chunks(rows):
            layout.put(grown.words, self.width, self.count + first, layout.to_words(part.to(self.device)))
        grown.capacity_ids[self.count : end] = ids
        return replace(grown, count=end)

    def inserted(self, rows: Tensor, ids: Tensor) -> CodeStore:
        """With rows (n, W) and their new ids (n,), n > 0, in any order."""
        if not bool((ids[1:] > ids[:-1]).all()):
            order = ids.argsort()
            rows, ids = rows[order.to(rows.device)], ids[order]
        longer = self.appended(rows, ids)
        if not self.count or int(ids[0]) > int(self.ids[-1]):
            return longer
        places = torch.searchsorted(self.ids, ids)
        first = layout.first_of_tile(int(places[0]))
        places += torch.arange(len(ids), device=self.device) - first
        new = torch.zeros(longer.count - first, dtype=torch.bool, device=self.device)
        new[places] = True
        positions = torch.empty_like(new, dtype=torch.int64)
        positions[places] = torch.arange(self.count, longer.count, device=self.device)
        positions[~new] = torch.arange(first, self.count, device=self.device)
        return longer._selected(first, positions)

    def without(self, positions: Tensor) -> CodeStore:
        """Without the codes at positions (n,), n > 0."""
        first = layout.first_of_tile(int(positions.min()))
        kept = torch.ones(self.count - first, dtype=torch.bool, device=self.device)
        kept[positions - first] = False
        return self._selected(first, first + kept.nonzero().flatten())

    def to(self, device: torch.device, *, pinned: bool) -> CodeStore:
        """The same codes elsewhere, in memory of their own."""
        place = CodeStore.empty(self.width, device, pinned=pinned, capacity=self.count)
        place.words.copy_(self.database.words)
        place.capacity_ids.copy_(self.ids)
        return replace(place, count=self.count)

    def _selected(self, first: int, positions: Tensor) -> CodeStore:
        """The codes before `first`, the begin of a tile, and then those at `positions`, in new memory."""
        end, lines = first + len(positions), layout.lines_of(first, self.width)
        made = CodeStore.empty(self.width, self.device, pinned=self.pinned, capacity=end)
        made._fill_up(end)
        made.words[:lines] = self.words[:lines]
        made.capacity_ids[:first] = self.capacity_ids[:first]
        made.capacity_ids[first:] = self.capacity_ids[positions]
        for start, part in self._chunks(positions):
            layout.put(made.words, self.width, first + start, layout.take(self.words, self.width, part))
        return replace(made, count=end)

    def _with_room(self, count: int) -> CodeStore:
        """Itself where `count` codes fit, or a copy with twice the room, so that many small additions stay cheap."""
        if count <= len(self.capacity_ids):
            return self
        made = CodeStore.empty(
            self.width, self.device, pinned=self.pinned, capacity=max(count, 2 * len(self.capacity_ids))
        )
        made.words[: len(self.database.words)] = self.database.words
        made.capacity_ids[: self.count] = self.ids
        return replace(made, count=self.count)

    def _fill_up(self, end: int) -> None:
        """Zeros behind the last code, up to the end of its tile."""
        places = -end % TILE_CODES
        layout.put(
            self.words, self.width, end, layout.to_words(self.words.new_zeros(places, self.width, dtype=torch.uint8))
        )

    def _chunks(self, items: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Parts of items (n, ...), one for each code, and where they begin."""
        size = max(1, _CHUNK_BYTES // self.width)
        return ((first, items[first : first + size]) for first in range(0, len(items), size))
