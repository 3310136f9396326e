"""Exit codes that are a shell's own: 128 and a signal's number. The others are 0, 1 and 2."""

#: Ctrl-C.
INTERRUPTED = 130
#: A reader that has gone.
NO_READER = 141


def ended_by(signal_number: int) -> int:
    """130 for SIGINT, 143 for SIGTERM"""
    return 128 + signal_number
