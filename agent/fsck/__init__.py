"""What is wrong with a store, and what can be repaired without losing factors."""
