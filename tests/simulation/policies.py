"""Groups as their policies say: each ends when it should and as it should, and its callback is handed out with one
payload, and only when it is done.

What has become of members is asked of the tasks themselves, not of what their group has counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.simulation.ledger import Ledger, Violation
from zq.core import tables
from zq.core.state.leases import Lease
from zq.core.state.step import Step
from zq.core.tasks.groups import CANCELLED, DONE, IS_GROUP, OPEN, GroupRow, read_row, roster

ENDS = ("done", "dead", "cancelled", "expired")

StateOf = Callable[[Step, str], str]


class PolicyCheck:
    """Which members each open group was seen with: when it has ended nobody knows them any more."""

    def __init__(self, ledger: Ledger, state_of: StateOf) -> None:
        self._ledger = ledger
        self._state_of = state_of
        self._around: set[str] = set()  # groups that had groups as members, which may fail, too
        self._members: dict[str, dict[str, None]] = {}  # by open group: tasks; perhaps of a turn that never happened

    def check(self, step: Step, granted: Iterable[Lease], *, is_thorough: bool) -> None:
        """Checks a step that is about to be committed."""
        rows = [read_row(key.decode(), value) for key, value in step.tx.scan(tables.GROUPS)]
        for row in rows:
            if row.state == OPEN:
                self._meet(step, row)
                if is_thorough:
                    self._check_open(step, row)
            elif row.finished_time == step.wall:
                self._check_end(step, row)
        self._check_callbacks({row.id: row for row in rows}, granted)

    def _meet(self, step: Step, row: GroupRow) -> None:
        known, entries = self._members.setdefault(row.id, {}), self._ledger.entries
        for id, kind in roster(step, row.id):
            if kind == IS_GROUP:
                self._around.add(row.id)
            if kind != IS_GROUP and id not in known and f"{id}#0" not in known:
                known |= dict.fromkeys(one for one in (id, *(f"{id}#{index}" for index in range(8))) if one in entries)

    def _ends(self, step: Step, row: GroupRow) -> list[tuple[str, str]]:
        """Returns how members have ended, each with its state; not those in whose place something was forwarded."""
        moved = self._ledger.moved
        found = [(id, self._state_of(step, id)) for id in self._members.get(row.id, ())]
        forgotten = self._ledger.forgotten
        found = [(id, "cancelled" if state == "unknown" and id in forgotten else state) for id, state in found]
        return [(id, state) for id, state in found if state in ENDS and not (state == "done" and id in moved)]

    def _check_open(self, step: Step, row: GroupRow) -> None:
        for id, state in self._ends(step, row):
            if self._ledger.is_hurt(id):  # it was done, perhaps, and the group has its result
                continue
            if (row.policy == "all" and state != "done") or (row.policy == "any" and state == "done"):
                raise Violation(f"group {row.id} of policy {row.policy} is open, and its member {id} is {state}")

    def _check_end(self, step: Step, row: GroupRow) -> None:
        known = self._members.setdefault(row.id, {})
        known |= dict.fromkeys(id for id in self._ledger.entries if _is_of(id, row.id))  # let in in this step
        ends = self._ends(step, row)
        done = [id for id, state in ends if state == "done"]
        if row.state == CANCELLED or not row.size or self._is_damaged(row):
            return
        if any(self._ledger.is_hurt(id) for id in known):  # it may be told as dead, and the group have its result
            return
        if row.policy == "all":
            is_right = (row.state == DONE) == (len(done) == len(ends)) or (row.state != DONE and row.id in self._around)
        elif row.policy == "any":
            may_be = done or any(id in self._ledger.moved for id in known)  # or was not, as its report was lost
            is_right = bool(may_be) if row.state == DONE else not done
        else:
            is_right = row.state == DONE
        if not is_right:
            raise Violation(f"group {row.id} of policy {row.policy} is {row.state} ({row.reason}), its members: {ends}")
        if row.policy != "any" and row.state == DONE:
            ended = {id for id, _ in ends}
            out = [id for id in self._members.get(row.id, ()) if id not in ended and id not in self._ledger.moved]
            if missing := [id for id in out if self._state_of(step, id) != "unknown"]:
                raise Violation(f"group {row.id} of policy {row.policy} is done, and {missing} have not ended")

    def _is_damaged(self, row: GroupRow) -> bool:
        return "damaged on the disk" in row.reason

    def _check_callbacks(self, rows: dict[str, GroupRow], granted: Iterable[Lease]) -> None:
        for lease in granted:
            row = rows.get(lease.batch.own_id)
            if row is not None and row.state != DONE:
                raise Violation(f"the callback of group {row.id} was handed out, and it is {row.state}: {row.reason}")


def _is_of(id: str, group: str) -> bool:
    """Whether a task came with a group, by their names."""
    nested = group.removesuffix("~")
    return id.startswith(f"{group}.") or (nested != group and (id == nested or id.startswith(f"{nested}#")))
