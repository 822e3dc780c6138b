"""Services together in one process, on the memory bus."""
