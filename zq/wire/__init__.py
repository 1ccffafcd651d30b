"""The protocol: messages as values, their bytes, and the limits of both; docs/protocol.md is the specification."""
