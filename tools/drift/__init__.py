"""The benchmark of drift: one memory through ten years, corrected in several ways."""
