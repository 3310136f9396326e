"""Looking at a turnstile from outside."""

import threading


def is_free(turnstile):
    """Whether another thread could enter now."""
    free = []

    def try_it():
        free.append(turnstile._lock.acquire(blocking=False))
        if free[0]:
            turnstile._lock.release()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return free[0]
