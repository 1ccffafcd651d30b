"""What all tests share: only settings. Fixtures live beside the tests that use them."""

import ast
import functools
import signal
import sys
from typing import Any

from hypothesis import settings

# No deadline: how long an example takes on a busy machine says nothing about the code.
settings.register_profile("zq", deadline=None, print_blob=True)
settings.load_profile("zq")

# A shell that starts the tests in the background has them ignore SIGINT, and so would every process that they start and
# interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

if sys.version_info < (3, 12):  # it counts the depth of syntax trees for all threads together (python/cpython#106905)
    _parse = ast.parse

    @functools.wraps(_parse)
    def _parse_beside_others(*arguments: Any, **options: Any) -> Any:
        """A test that fails is shown, although a thread makes a traceback meanwhile; pytest itself ended of it."""
        for _ in range(10):
            try:
                return _parse(*arguments, **options)
            except SystemError:
                pass
        return _parse(*arguments, **options)

    ast.parse = _parse_beside_others
