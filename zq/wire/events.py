"""The kinds of live events."""

EVENT_KINDS = (
    "accepted", "refused", "assigned", "done", "failed", "retried", "lost", "stale",
    "expired", "dead", "cancelled", "revived", "worker", "queue",
)  # fmt: skip
