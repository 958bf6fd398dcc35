"""Pictures steered by pictures (IP-Adapter)."""
