"""What is due when: a heap whose entries are struck out where they are, so that nothing is searched for."""

import heapq
import itertools
import math
from typing import Generic, List, Optional, Tuple, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """One item's place in an agenda; without its item once it was struck out."""

    __slots__ = ("due_s", "item")

    def __init__(self, due_s: float, item: T) -> None:
        self.due_s = due_s
        self.item: Optional[T] = item


class Agenda(Generic[T]):
    """Items by the time at which they are due. Has no lock: its owner has one."""

    def __init__(self) -> None:
        self._heap: List[Tuple[float, int, Entry[T]]] = []
        self._order = itertools.count()
        self._struck = 0

    def __len__(self) -> int:
        return len(self._heap) - self._struck

    def add(self, due_s: float, item: T) -> Entry[T]:
        """Remember ``item``; the entry strikes it out again."""
        entry = Entry(due_s, item)
        heapq.heappush(self._heap, (due_s, next(self._order), entry))
        return entry

    def strike(self, entry: Optional[Entry[T]]) -> bool:
        """Forget the entry's item, at a cost that does not depend on how many others there are; False: it was gone."""
        if entry is None or entry.item is None:
            return False
        entry.item = None
        self._struck += 1
        # Rebuilt when it is mostly empty, so that an entry costs its share of that once.
        if self._struck > 32 and self._struck * 2 > len(self._heap):
            self._heap = [row for row in self._heap if row[2].item is not None]
            heapq.heapify(self._heap)
            self._struck = 0
        return True

    def next_due_s(self) -> Optional[float]:
        """When the next item is due; None when there is none."""
        while self._heap and self._heap[0][2].item is None:
            heapq.heappop(self._heap)
            self._struck -= 1
        return self._heap[0][0] if self._heap else None

    def pop_all_due(self, now_s: float, most: float = math.inf) -> List[T]:
        """The items that are due at ``now_s``, ``most`` of them at most, in order; they are then forgotten."""
        items: List[T] = []
        while len(items) < most:
            due_s = self.next_due_s()
            if due_s is None or due_s > now_s:
                break
            entry = heapq.heappop(self._heap)[2]
            assert entry.item is not None
            items.append(entry.item)
            entry.item = None
        return items
