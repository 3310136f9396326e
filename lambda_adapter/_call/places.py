"""A limited number of places, which go round the groups that wait; within a group it is first come, first served."""

from collections import OrderedDict
from typing import Generic, Hashable, Optional, TypeVar

T = TypeVar("T")


class QueueFullError(Exception):
    """One item more than may wait; the text says which limit that is."""


class _Group(Generic[T]):
    """What one group waits for: items that have had a place before go first."""

    __slots__ = ("again", "counted", "new")

    def __init__(self) -> None:
        self.again: OrderedDict[T, None] = OrderedDict()
        #: Each with whether the limits count it.
        self.new: OrderedDict[T, bool] = OrderedDict()
        self.counted = 0


class Places(Generic[T]):
    """The places, and the items that wait for one. No operation takes longer the more items wait.

    It has no lock: its owner has one.

    Args:
        max_pending: Items that may wait for their first place; None for any number.
        max_pending_per_group: The same for the items of one group.
    """

    def __init__(self, places: int, max_pending: Optional[int], max_pending_per_group: Optional[int]) -> None:
        self._places = places
        self._max_pending = max_pending
        self._max_pending_per_group = max_pending_per_group
        #: In the order of their turns; a group that waits for nothing is not in it.
        self._groups: OrderedDict[Hashable, _Group[T]] = OrderedDict()
        #: How many places are taken.
        self.taken = 0
        #: How many items wait for their first place.
        self.new = 0
        #: How many of them the limits count.
        self._counted = 0

    def could_go_to(self) -> bool:
        """Whether a place is free and an item waits for one."""
        return self.taken < self._places and bool(self._groups)

    def check_room(self, group: Hashable) -> None:
        """Raises:
        QueueFullError: No further item of ``group`` may wait.
        """
        waiting = self.taken + self._counted - self._places
        if waiting < 0:
            return
        if self._max_pending is not None and waiting >= self._max_pending:
            raise QueueFullError(f"{self._places} calls are under way and {self._max_pending} wait")
        most = self._max_pending_per_group
        if (most is not None and group in self._groups and self._groups[group].counted >= most) or most == 0:
            raise QueueFullError(
                f"max_pending_per_community allows {most} of this community's calls to wait, and so many do"
            )

    def wait(self, item: T, group: Hashable, again: bool = False, counts: bool = True) -> None:
        """Let ``item`` wait for a place; ``again``: it has had one before; ``counts``: the limits count it."""
        waits = self._groups.get(group)
        if waits is None:
            waits = self._groups[group] = _Group()
        if again:
            waits.again[item] = None
        else:
            waits.new[item] = counts
            waits.counted += counts
            self._counted += counts
            self.new += 1

    def discard(self, item: T, group: Hashable) -> bool:
        """Let ``item`` wait no longer; False when it did not wait."""
        waits = self._groups.get(group)
        if waits is None or not (item in waits.new or item in waits.again):
            return False
        if item in waits.new:
            counts = waits.new.pop(item)
            waits.counted -= counts
            self._counted -= counts
            self.new -= 1
        else:
            del waits.again[item]
        if not (waits.new or waits.again):
            del self._groups[group]
        return True

    def pop(self) -> Optional[T]:
        """The item whose turn it is, which then waits no longer; None when no item waits."""
        if not self._groups:
            return None
        group, waits = next(iter(self._groups.items()))
        item = next(iter(waits.again or waits.new))
        # The next turn is another group's; discard drops this one if this was its last item.
        self._groups.move_to_end(group)
        self.discard(item, group)
        return item
