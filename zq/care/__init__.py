"""What is done to a directory beside serving it: copies, and making it small again (docs/howto/care.md).

May import: core, store. Nothing here speaks to a coordinator: it may be running or not.
"""

from zq.care.copies import back_up, compact, restore

__all__ = ["back_up", "compact", "restore"]
