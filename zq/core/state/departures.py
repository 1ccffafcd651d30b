"""What one step notes about tasks that ended, for those who have to follow up in the same step: groups and notices
(`zq.core.tasks.follow_up`).
"""

from typing import NamedTuple


class EndedMembers(NamedTuple):
    """Members lo <= index < hi of a batch have left their group: they ended, or their completion moved the
    membership.
    """

    group: tuple[str, tuple[int, ...]]  # as the batch has it, so the path is that of index 0
    id: str  # of the batch, or of the group inside
    lo: int
    hi: int
    outcome: str  # MOVED: what the completion forwarded takes their places
    reason: str
    ends: bytes
    blob: bytes
    is_group: bool = False


MOVED = "moved"


class Notice(NamedTuple):
    """A task, or a group, has ended badly, and a queue is to be told."""

    queue: str
    id: str
    of: str  # the queue that it was in
    outcome: str
    reason: str
    attempts: int
    headers: dict[str, str] | None
    payload: bytes
