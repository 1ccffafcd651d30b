"""What the coordinator knows: the books in memory, the records on disk, and the ways in and out of each table.

What keeps a task waiting, and in which file, is on one page: `zq.core.insight.waiting`.

May import: the ground of the core (options, storage, tables, arguments, bindings, ring). A rule about *one* structure
belongs here; a rule that needs a message from a peer, or decides what becomes of a task, is in `zq.core.tasks`. Each
table has one module that writes it: those in which a task can be, and the index, `places`.
"""
