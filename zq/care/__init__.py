"""What is done to a directory beside serving it: looking it over, copies, making it small again (docs/howto/care.md).

May import: core, store, errors. Nothing here speaks to a coordinator: it may be running or not.
"""

from zq.care.copies import back_up, compact, restore
from zq.care.doctor import examine
from zq.care.findings import Finding, Weight

__all__ = ["Finding", "Weight", "back_up", "compact", "examine", "restore"]
