"""What an authenticated key may do: decided for each message, before the core handles it, and for each answer.

May import: everything else of the core but its roof. Who a peer is is not said here: the shell brings the public key
that the connection has proved to have, and what a peer says of itself decides nothing.
"""
