"""What lasts on the board: bundle, factors, buffer and history, safe from power cuts."""
