"""Work for a workstation: packing model files, the demo and its picture."""
