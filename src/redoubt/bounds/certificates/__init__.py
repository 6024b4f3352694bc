"""Certificates that go with training: interval bounds, smoothing, patches."""
