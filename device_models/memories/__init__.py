"""Arrays that are one product or tiles of it: analog memories, mismatch, the ideal one."""
