"""What operators do: commands, and operations on whole queues that take many steps.

May import: `zq.core.tasks`, `zq.core.state` and the ground. What only reads is in `zq.core.insight`.
"""
