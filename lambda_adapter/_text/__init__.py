"""Text: what may be shown of it, and how a time is written."""
