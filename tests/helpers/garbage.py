"""The garbage collector of a process that has imported its libraries and runs tests."""

import atexit
import gc

THRESHOLD = 20_000
"""Objects that may be made before the collector looks at the new ones; 700 by default."""


def freeze_garbage_collector() -> None:
    """Take all objects that exist out of the collector's sight, and let it look less often.

    A process that is forked after it also shares their memory, since no collection writes to them.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # at the end a library reports what it then calls leaks
    gc.set_threshold(THRESHOLD)
    gc.enable()
