"""The emulator's benchmark: subjects, rivals in Pythons of their own, alternation, report."""
