"""Work for a workstation: packing models, simulation, reports, pictures."""
