"""Samplers that several paradigms use: frozen dataclasses of settings, without weights and without a device."""
