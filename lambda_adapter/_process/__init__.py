"""This process: what a fork leaves behind."""
