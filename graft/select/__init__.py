"""Which photos a build takes: filters of the table, of the pictures, and caps, each with its count."""
