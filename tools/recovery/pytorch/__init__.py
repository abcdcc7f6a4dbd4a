"""Rivals that train with PyTorch; nothing else imports it."""
