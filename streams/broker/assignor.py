"""How partitions are dealt to workers: Faust's sticky assignor, made to give every worker its share."""

from collections.abc import MutableMapping
from typing import Any

from faust.assignor import partition_assignor
from faust.assignor.client_assignment import CopartitionedAssignment
from faust.assignor.copartitioned_assignor import CopartitionedAssignor
from faust.assignor.partition_assignor import PartitionAssignor


class BalancedAssignor(CopartitionedAssignor):  # type: ignore[misc]
    """Faust's assignor of one group of topics, with numbers of partitions that differ by one at most.

    With standbys Faust lets every worker keep as many partitions as the largest share has: of four partitions, a third
    worker would get none as long as two others hold two each. Here only as many workers keep the largest share as the
    remainder allows. Whoever has no more than its share keeps all of it.
    """

    @property
    def _remainder(self) -> int:
        """How many workers may have ``max_capacity`` partitions, if that is not what all have."""
        remainder: int = self.num_partitions - self.min_capacity * self._num_clients
        return remainder

    def get_assignment(self) -> MutableMapping[str, CopartitionedAssignment]:
        """Take from those who have too much, then deal out what nobody has; standbys are promoted first."""
        most_first = sorted(self._client_assignments.values(), key=lambda one: -len(one.actives))
        for number, assignment in enumerate(most_first):
            share = self.max_capacity if number < self._remainder else self.min_capacity
            while len(assignment.actives) > share:
                assignment.actives.pop()
            assignment.unassign_extras(self.max_capacity, self.replicas)
        self._assign(active=True)
        self._assign(active=False)
        dealt: MutableMapping[str, CopartitionedAssignment] = self._client_assignments
        return dealt

    def _client_exhausted(
        self, assignemnt: CopartitionedAssignment, active: bool, client_limit: int | None = None
    ) -> bool:
        if not active:
            return bool(super()._client_exhausted(assignemnt, active, client_limit))
        if len(assignemnt.actives) < self.min_capacity:
            return False
        full = sum(len(one.actives) > self.min_capacity for one in self._client_assignments.values())
        return bool(full >= self._remainder or len(assignemnt.actives) >= self.max_capacity)


# Faust makes its assignor of one group by name; there is no other way to have it make ours.
partition_assignor.CopartitionedAssignor = BalancedAssignor


def sticky_assignor(app: Any, standbys: int) -> PartitionAssignor:
    """Return an assignor under which partitions stay where their state is, and a standby is the first to take over.

    ``standbys`` is how many workers stand by for each partition.
    """
    return PartitionAssignor(app, replicas=standbys)
