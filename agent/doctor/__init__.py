"""What `npp-agent doctor` finds out: machine, packages, store and ports. Imports none of them."""
