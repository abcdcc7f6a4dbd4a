"""Names of schemes that more than one floor speaks of; nothing is imported here."""

CHANNELWISE = "channelwise"
"""Each input channel of each layer has one of a few levels of bits."""
