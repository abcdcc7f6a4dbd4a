"""The commands by name: where each lives and what it does, so that help needs to import none."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("agent.cli.demo:command", "Show the whole story on one emulated chip."),
    "pack": ("agent.cli.pack:command", "Make a bundle of a float model and samples."),
    "inspect": ("agent.cli.inspect:command", "Say what is in a bundle, and what it costs."),
    "install": ("agent.cli.install:command", "Put a bundle into a store, on a chip."),
    "measure": ("agent.cli.measure:command", "Compare the chip's layers with the references."),
    "calibrate": ("agent.cli.calibrate:command", "Fit new factors; keep them if they help."),
    "evaluate": ("agent.cli.evaluate:command", "Accuracy of float, uncorrected and corrected."),
    "run": ("agent.cli.run:command", "Answer inputs, as a service that keeps its chip well."),
    "config": ("agent.cli.config:command", "Print the configuration of the service."),
    "simulate": ("agent.cli.simulate:command", "Simulate many chips: accuracy, yield, failures."),
    "simulate-life": ("agent.cli.simulate_life:command", "Simulate a chip's long life."),
    "status": ("agent.cli.status:command", "Say what is installed, and which factors run."),
    "history": ("agent.cli.history:command", "List what happened in a store."),
    "rollback": ("agent.cli.rollback:command", "Let older factors run again."),
    "deploy": ("agent.cli.deploy:command", "Send a bundle to a board, and install it there."),
    "monitor": ("agent.cli.monitor:command", "Watch a board at the other end of a line."),
    "fsck": ("agent.cli.fsck:command", "Check a store, and repair it."),
    "format-store": ("agent.cli.format_store:command", "Make an image that holds a store."),
    "uninstall": ("agent.cli.uninstall:command", "Remove a store."),
    "devices": ("agent.cli.devices:command", "List the emulated chips and their parameters."),
    "fit-device": ("agent.cli.fit_device:command", "Fit a device to measured cells."),
    "doctor": ("agent.cli.doctor:command", "Say what works on this machine, and what to install."),
}
"""Name: (module:attribute, one line of help). In the order of a user's way, as help lists them."""
