"""Clients with hooks: the calls of a client, with its middleware around them."""
