"""The serial link: SMP over a cable, on the board and on the other end of it."""
