"""The coordinator as a pure machine. No sockets, no clocks, no threads, no disk; those come in as arguments.

May import: task, submit_options, wire, errors. Inside, each floor may import those below it: the ground (`options`,
`storage`, `tables`, `arguments`, `bindings` and `ring`, which know nothing of the rest), then `state`, `tasks`,
`admin`, `insight`, and `coordinator` with `opening` on top.
"""
