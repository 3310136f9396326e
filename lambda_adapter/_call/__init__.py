"""One call, from its encoded request to its outcome: attempts, the waits between them, threads and deadlines."""
