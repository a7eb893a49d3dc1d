"""Speed against a peer that does the same work, and against the limit: `python -m benchmarks [NAME …]`."""
