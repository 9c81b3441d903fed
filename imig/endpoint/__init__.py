"""The client of OpenAI-compatible servers: bounded, patient, and discreet about the key."""
