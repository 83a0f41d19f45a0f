"""Side-by-side runs of engines on this machine; never imported by tests."""
