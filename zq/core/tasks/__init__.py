"""What happens to tasks: from their submit to their end, one concern a file.

May import: `zq.core.state` and the ground. Here is decided what becomes of a task; how it is kept is in
`zq.core.state`, what is done to whole queues on request in `zq.core.admin`, what is only looked at in
`zq.core.insight`.
"""
