"""What is done to a directory beside serving it: looking it over, repair, salvage, copies, making it small.

May import: core, store, errors. Nothing here speaks to a coordinator: it may be running or not.
"""

from zq.care.copies import back_up, compact, restore
from zq.care.doctor import examine
from zq.care.findings import Finding, Weight
from zq.care.repair import repair
from zq.care.salvage import Salvaged, salvage

__all__ = ["Finding", "Salvaged", "Weight", "back_up", "compact", "examine", "repair", "restore", "salvage"]
