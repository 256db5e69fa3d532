"""How documents get into a store: in bounded batches, with retries, and with a report."""
