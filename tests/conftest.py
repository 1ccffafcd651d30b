"""What all tests share: only settings. Fixtures live beside the tests that use them."""

import signal

from hypothesis import settings

# No deadline: how long an example takes on a busy machine says nothing about the code.
settings.register_profile("zq", deadline=None, print_blob=True)
settings.load_profile("zq")

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process that they start and
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
