"""What several test modules use: one copy of each helper; no test module imports another."""
