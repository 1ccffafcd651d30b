"""What all tests share: only settings. Fixtures live beside the tests that use them."""

from hypothesis import settings

# No deadline: how long an example takes on a busy machine says nothing about the code.
settings.register_profile("zq", deadline=None, print_blob=True)
settings.load_profile("zq")
