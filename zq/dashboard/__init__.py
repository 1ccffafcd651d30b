"""The dashboard: one JSON interface, one event stream and a static page, in a process of its own beside a coordinator.

It is a client like any other, so that its load and its faults are no coordinator's. docs/dashboard.md has the
interface.

It sees the public names of zq, as any program does.

May import: monitor.
"""
