"""The target profile: how to speak to a checkout API, as a YAML file."""
